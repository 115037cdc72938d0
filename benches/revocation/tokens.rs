//! Access tokens of an issuer that the gateways believe.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const SECRET: &[u8] = b"Zm9yIHRoZSBiZW5jaG1hcmtzIGFsb25lLCBub3RoaW5nIGVsc2U";
const ISSUER: &str = "https://issuer.test/";

/// The issuer.
pub struct Tokens {
    key: hmac::Key,
    file: NamedTempFile,
    next: AtomicU64,
}

impl Tokens {
    pub fn new() -> Self {
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(SECRET).expect("it is written");
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, SECRET), file, next: AtomicU64::new(0) }
    }

    /// The table by which a gateway believes it.
    pub fn believed(&self) -> String {
        format!(
            "[[bearer.issuers]]\nissuer = \"{ISSUER}\"\naudience = [\"api\"]\nalgorithms = [\"HS256\"]\n\
             key_file = \"{}\"\ntenant = [\"/org_id\"]\n",
            self.file.path().display()
        )
    }

    /// Another one of this user.
    pub fn of(&self, tenant: &str, user: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let claims = json!({
            "iss": ISSUER, "aud": "api", "sub": user, "org_id": tenant, "iat": now, "exp": now + 3600, "jti": number,
        });
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", text(&json!({"alg": "HS256", "typ": "JWT"})), text(&claims));
        let signature = hmac::sign(&self.key, input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }
}
