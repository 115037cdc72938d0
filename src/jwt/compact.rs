//! The compact form (RFC 7515 section 7.1): three parts, each in the one way in which base64url writes its bytes.
//!
//! Nothing in the header decides anything: it *names* an algorithm and a key, and is refused where these are not the
//! issuer's own. What it might ask for beyond that is refused, whatever it is.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::algorithm::Algorithm;
use super::fault::TokenFault;
use super::json;
use crate::session::SessionId;

/// The longest token that is looked at, in bytes.
pub const LONGEST_TOKEN: usize = 16 << 10;
/// The longest header within it, as it is encoded.
const LONGEST_HEADER: usize = 4 << 10;
/// The longest name of a key.
pub(super) const LONGEST_KID: usize = 256;

/// Header parameters that would have a token choose its own key, or mean what is nowhere implemented. (`x5c` and `x5t`
/// only describe a key, and are not looked at.)
const REFUSED: [&str; 6] = ["crit", "b64", "zip", "jku", "x5u", "jwk"];

/// A token in its parts; nothing of it is verified.
pub struct Compact<'a> {
    signing_input: &'a str,
    header: Header,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// What a token says of how it was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `alg`.
    pub algorithm: Algorithm,
    /// `kid`.
    pub kid: Option<Box<str>>,
    /// `typ`, in lower case and without `application/`.
    pub typ: Option<Box<str>>,
}

impl<'a> Compact<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// When it is not exactly what a signer of RFC 7515 writes.
    pub fn parse(token: &'a str) -> Result<Self, TokenFault> {
        if token.len() > LONGEST_TOKEN {
            return Err(TokenFault::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(TokenFault::Shape)?;
        let (header, payload) = signing_input.split_once('.').ok_or(TokenFault::Shape)?;
        if payload.contains('.') || header.is_empty() || signature.is_empty() {
            return Err(TokenFault::Shape);
        }
        if header.len() > LONGEST_HEADER {
            return Err(TokenFault::TooLong);
        }
        Ok(Self {
            signing_input,
            header: Header::of(&json::object(&bytes(header)?)?)?,
            payload: bytes(payload)?,
            signature: bytes(signature)?,
        })
    }

    /// What a token is called, in logs, in the store and by operators: the hash of what is signed, and not of the whole.
    /// Of one ECDSA signature anybody can make a second one that verifies as well; a denial under the whole's hash would
    /// not meet that.
    #[must_use]
    pub fn id(&self) -> SessionId {
        SessionId::from_bytes(&Sha256::digest(self.signing_input))
    }

    /// What it says of how it was signed.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// The bytes that are signed.
    #[must_use]
    pub const fn signing_input(&self) -> &[u8] {
        self.signing_input.as_bytes()
    }

    /// The signature's bytes.
    #[must_use]
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The claims: a JSON object.
    ///
    /// # Errors
    /// When the payload is none.
    pub fn claims(&self) -> Result<Map<String, Value>, TokenFault> {
        json::object(&self.payload)
    }
}

impl Header {
    fn of(header: &Map<String, Value>) -> Result<Self, TokenFault> {
        if REFUSED.iter().any(|name| header.contains_key(*name)) {
            return Err(TokenFault::Header);
        }
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= LONGEST_KID => Ok(Some(text.as_str())),
            Some(_) => Err(TokenFault::Header),
        };
        let algorithm = text("alg")?.and_then(Algorithm::parse).ok_or(TokenFault::Algorithm)?;
        let typ = text("typ")?.map(|typ| {
            let typ = typ.to_ascii_lowercase();
            Box::from(typ.strip_prefix("application/").unwrap_or(&typ))
        });
        Ok(Self { algorithm, kid: text("kid")?.map(Box::from), typ })
    }
}

/// Whether a token that an app hands out may be its own all the same, although this was found of it: it is none of the issuers'
/// whose keys there are, or no JSON Web Token at all.
#[must_use]
pub fn may_be_anothers(fault: TokenFault, token: &str) -> bool {
    match fault {
        // Whose it is, others say.
        TokenFault::Issuer | TokenFault::Identity => true,
        TokenFault::Shape | TokenFault::Encoding | TokenFault::Json => Compact::parse(token).is_err(),
        _ => false,
    }
}

/// What a token claims, whoever signed it, by whatever algorithm. `None` for what is no JSON Web Token.
///
/// # Errors
/// When a name stands twice: one reader takes the first value, and another the last.
pub fn unverified_claims(token: &str) -> Result<Option<Map<String, Value>>, TokenFault> {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Ok(None);
    };
    let (Ok(header), Ok(payload)) = (bytes(header), bytes(payload)) else { return Ok(None) };
    let read = |part: &[u8]| match json::object(part) {
        Ok(object) => Ok(Some(object)),
        Err(fault @ TokenFault::DuplicateName) => Err(fault),
        Err(_) => Ok(None),
    };
    if read(&header)?.is_none() {
        return Ok(None);
    }
    read(&payload)
}

/// The bytes that base64url stands for: without padding, and without bits that no byte has.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, TokenFault> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenFault::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.{}.AAAA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode("{}"))
    }

    fn parsed(header: &str) -> Result<Header, TokenFault> {
        Compact::parse(&token(header)).map(|compact| compact.header().clone())
    }

    #[test]
    fn three_parts_of_base64url_and_nothing_else_are_a_token() {
        let good = token(r#"{"alg":"HS256"}"#);
        assert!(Compact::parse(&good).is_ok());
        for (wrong, fault) in [
            (String::new(), TokenFault::Shape),
            (String::from("a"), TokenFault::Shape),
            (good.replacen('.', "", 1), TokenFault::Shape),
            (format!("{good}.AAAA"), TokenFault::Shape),
            (format!(".{good}"), TokenFault::Shape),
            (good.trim_end_matches('A').to_owned(), TokenFault::Shape),
            (format!("{good}="), TokenFault::Encoding),
            (format!("{good}A"), TokenFault::Encoding),
            (format!("{good}AB"), TokenFault::Encoding),
            (format!("{good}AA+"), TokenFault::Encoding),
            (format!("{good} "), TokenFault::Encoding),
            (format!("{good}\n"), TokenFault::Encoding),
            (format!("{good}{}", "A".repeat(LONGEST_TOKEN)), TokenFault::TooLong),
            (format!("{}.e30.AAAA", "A".repeat(LONGEST_HEADER + 1)), TokenFault::TooLong),
        ] {
            assert_eq!(Compact::parse(&wrong).map(|_| ()), Err(fault), "{wrong}");
        }
        // An empty payload is a token, of which there are no claims.
        assert_eq!(Compact::parse(&good.replace(".e30.", "..")).map(|token| token.claims()), Ok(Err(TokenFault::Json)));
    }

    #[test]
    fn a_header_names_an_algorithm_and_perhaps_a_key_and_asks_for_nothing() {
        let header = parsed(r#"{"alg":"RS256","kid":"k","typ":"Application/AT+JWT","x5t":"…","cty":"x"}"#);
        let expected = Header { algorithm: Algorithm::Rs256, kid: Some("k".into()), typ: Some("at+jwt".into()) };
        assert_eq!(header, Ok(expected));
        for name in REFUSED {
            for value in ["[]", "null", "false", "\"\""] {
                let header = format!(r#"{{"alg":"RS256","{name}":{value}}}"#);
                assert_eq!(parsed(&header), Err(TokenFault::Header), "{header}");
            }
        }
        for (header, fault) in [
            (r#"{"alg":"none"}"#, TokenFault::Algorithm),
            (r#"{"alg":"nOnE"}"#, TokenFault::Algorithm),
            (r#"{"alg":""}"#, TokenFault::Algorithm),
            ("{}", TokenFault::Algorithm),
            (r#"{"alg":null}"#, TokenFault::Header),
            (r#"{"alg":["RS256"]}"#, TokenFault::Header),
            (r#"{"alg":"RS256","kid":7}"#, TokenFault::Header),
            (r#"{"alg":"RS256","typ":null}"#, TokenFault::Header),
            (r#"{"alg":"none","alg":"RS256"}"#, TokenFault::DuplicateName),
        ] {
            assert_eq!(parsed(header), Err(fault), "{header}");
        }
    }

    #[test]
    fn a_token_is_called_by_what_is_signed_whatever_its_signature_is() {
        let token = token(r#"{"alg":"ES256"}"#);
        let other = token.replace(".AAAA", ".BBBB");
        let id = |text: &str| Compact::parse(text).map(|token| token.id());
        assert_eq!(id(&token), id(&other));
        // printf 'eyJhbGciOiJFUzI1NiJ9.e30' | sha256sum, first 16 bytes, base64url
        assert_eq!(id(&token).map(|id| id.to_string()), Ok(String::from("LrG0aF3pyE7x9EnObyyyyA")));
    }
}
