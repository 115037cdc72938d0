//! Certificate chains with their keys: read from PEM files, matched, and found by name.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use super::Term;
use crate::settled;

/// The most bytes of a file of certificates or of a key.
const LONGEST_FILE: u64 = 1 << 20;

/// Where a certificate chain and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the server's certificate first, then those that lead from it towards the authority.
    pub cert: PathBuf,
    /// PEM: PKCS #8, PKCS #1 or SEC 1; not encrypted.
    pub key: PathBuf,
}

/// Why a certificate cannot be served. The variant says which of the two files is at fault; no text holds any of a
/// key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The file of certificates.
    #[error("{0}")]
    Certificate(String),
    /// The key's file, or that it is the key of another certificate.
    #[error("{0}")]
    Key(String),
}

/// The certificates of a listener, with their keys. Never empty; the first is for clients that name no host, or one
/// that none is for.
#[derive(Debug)]
pub struct Certificates {
    first: Arc<CertifiedKey>,
    all: Vec<Arc<CertifiedKey>>,
    /// When each of them is valid.
    terms: Vec<Term>,
    /// By host name in lower case, or `*.` and the name above it.
    by_name: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Reads the files of all certificates. `None` when there are none.
    ///
    /// # Errors
    /// For each pair of files that cannot be served, its number and why.
    pub fn load(files: &[CertificateFiles]) -> Result<Option<Self>, Vec<(usize, CertificateError)>> {
        let mut all = Vec::with_capacity(files.len());
        let mut terms = Vec::with_capacity(files.len());
        let mut errors = Vec::new();
        let mut by_name: HashMap<Box<str>, Vec<Arc<CertifiedKey>>> = HashMap::new();
        for (index, files) in files.iter().enumerate() {
            match load_one(files) {
                Ok((certificate, term, names)) => {
                    terms.push(term);
                    for name in names {
                        by_name.entry(name).or_default().push(certificate.clone());
                    }
                    all.push(certificate);
                }
                Err(error) => errors.push((index, error)),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(all.first().cloned().map(|first| Self { first, all, terms, by_name }))
    }

    /// The certificate for a client that asks for `name` and can check signatures of these `schemes`: one that is for
    /// that very name, else for all names beside it, else the first. Of several, the first whose key suits.
    pub(super) fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let suits = |certificate: &&Arc<CertifiedKey>| certificate.key.choose_scheme(schemes).is_some();
        let named = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let find = |name: &str| self.by_name.get(name)?.iter().find(suits);
            find(&name).or_else(|| find(&format!("*.{}", name.split_once('.')?.1)))
        });
        named.unwrap_or(&self.first).clone()
    }

    /// Whether one of them is for this host.
    #[must_use]
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let wildcard = host.split_once('.').map(|(_, above)| format!("*.{above}"));
        self.by_name.contains_key(host.as_str())
            || wildcard.is_some_and(|name| self.by_name.contains_key(name.as_str()))
    }

    /// When each of them is valid, in their order.
    #[must_use]
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// Why these must not take the place of others at this moment: one is out of its time whose predecessor is not.
    /// `None`: they may. There is no predecessor where there was none before.
    #[must_use]
    pub fn worse_than(&self, others: Option<&Self>, now: u64) -> Option<String> {
        let before = |index: usize| others.and_then(|others| others.terms.get(index));
        let worse = |(index, term): &(usize, &Term)| {
            !term.holds_at(now) && before(*index).is_none_or(|before| before.holds_at(now))
        };
        self.terms.iter().enumerate().find(worse).and_then(|(_, term)| term.warning_at(now))
    }

    /// Whether these are the same certificates in the same order. The keys are then the same, too.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        self.all.len() == other.all.len() && self.all.iter().zip(&other.all).all(|(one, other)| one.cert == other.cert)
    }
}

/// A certificate with its key, when it is valid, and the names that it is for.
type Loaded = (Arc<CertifiedKey>, Term, Vec<Box<str>>);

fn load_one(files: &CertificateFiles) -> Result<Loaded, CertificateError> {
    let chain = read(&files.cert).map_err(CertificateError::Certificate).and_then(|pem| {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        chain.map_err(|error| CertificateError::Certificate(not_pem(&files.cert, "certificate", &error)))
    })?;
    let Some(end_entity) = chain.first() else {
        let none = pem::Error::NoItemsFound;
        return Err(CertificateError::Certificate(not_pem(&files.cert, "certificate", &none)));
    };
    let server = EndEntityCert::try_from(end_entity).map_err(|error| {
        let shown = &files.cert;
        CertificateError::Certificate(format!("{shown:?} begins with no certificate of a server: {error}"))
    })?;
    let names: Vec<Box<str>> = server.valid_dns_names().map(|name| name.to_ascii_lowercase().into()).collect();
    let name = names.first().cloned().unwrap_or_else(|| files.cert.display().to_string().into());
    let term = Term::of(name, &server).ok_or_else(|| {
        let shown = &files.cert;
        CertificateError::Certificate(format!("{shown:?} begins with a certificate that does not say when it is valid"))
    })?;
    let pem = read(&files.key).map_err(CertificateError::Key)?;
    if is_encrypted(&pem) {
        let key = &files.key;
        return Err(CertificateError::Key(format!(
            "{key:?} is encrypted, and there is nobody to ask for its passphrase; decrypt it with \
             `openssl pkey -in encrypted.key -out tls.key` and make it readable for the gateway alone"
        )));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|error| CertificateError::Key(not_pem(&files.key, "private key", &error)))?;
    let key = any_supported_type(&key).map_err(|_| {
        let shown = &files.key;
        CertificateError::Key(format!(
            "{shown:?} holds a key of a kind that is not supported; use RSA, ECDSA or Ed25519"
        ))
    })?;
    let certificate = CertifiedKey::new(chain, key);
    certificate.keys_match().map_err(|_| {
        let (key, cert) = (&files.key, &files.cert);
        CertificateError::Key(format!(
            "{key:?} is not the key of the first certificate in {cert:?}; name the two that match"
        ))
    })?;
    Ok((Arc::new(certificate), term, names))
}

/// Whether a key's file wants a passphrase: PKCS #8 says so in its first line, the older forms (RFC 1421) below it.
fn is_encrypted(pem: &[u8]) -> bool {
    let text = String::from_utf8_lossy(pem);
    text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
}

/// What is wrong with a PEM file; the parser's own words could quote it.
fn not_pem(path: &Path, wanted: &str, error: &pem::Error) -> String {
    let why = match error {
        pem::Error::NoItemsFound => "holds no",
        _ => "is no PEM file with a",
    };
    format!("{path:?} {why} {wanted}; name a file with `-----BEGIN …-----` of one")
}

/// A path that leads nowhere is not shown: it may be a key itself, put where a file's name belongs.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let settled = settled::read(path, LONGEST_FILE).map_err(|error| format!("names a file that {error}"))?;
    Ok(settled.bytes)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const MODERN: [SignatureScheme; 2] = [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519];

    fn write(folder: &TempDir, name: &str, names: &[&str]) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let files = CertificateFiles {
            cert: folder.path().join(format!("{name}.crt")),
            key: folder.path().join(format!("{name}.key")),
        };
        std::fs::write(&files.cert, made.cert.pem()).expect("a file");
        std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("a file");
        files
    }

    #[test]
    fn the_name_that_a_client_asks_for_decides_and_the_first_is_for_all_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = [
            write(&folder, "first", &["first.test"]),
            write(&folder, "wild", &["*.app.test"]),
            write(&folder, "exact", &["Exact.app.test", "other.test"]),
            write(&folder, "later", &["other.test"]),
        ];
        let loaded = Certificates::load(&files).expect("four certificates").expect("some");
        for (name, expected) in [
            (None, 0),
            (Some("first.test"), 0),
            (Some("unknown.test"), 0),
            (Some("test"), 0),
            (Some("a.app.test"), 1),
            (Some("A.APP.test"), 1),
            (Some("app.test"), 0),
            (Some("a.b.app.test"), 0),
            (Some("exact.app.test"), 2),
            (Some("other.test"), 2),
        ] {
            assert_eq!(loaded.choose(name, &MODERN).cert, loaded.all[expected].cert, "{name:?}");
        }
        // No key suits: the handshake will say so, with whichever certificate.
        assert_eq!(loaded.choose(Some("a.app.test"), &[]).cert, loaded.all[0].cert);
    }

    #[test]
    fn what_is_wrong_is_said_of_the_file_at_fault_and_all_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (write(&folder, "one", &["one.test"]), write(&folder, "two", &["two.test"]));
        let garbage = folder.path().join("garbage");
        std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\n!!secret!!\n-----END CERTIFICATE-----\n")
            .expect("a file");
        let missing = folder.path().join("missing");
        let (encrypted, older) = (folder.path().join("encrypted"), folder.path().join("older"));
        std::fs::write(
            &encrypted,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n",
        )
        .expect("a file");
        std::fs::write(
            &older,
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n",
        )
        .expect("a file");
        let pair = |cert: &PathBuf, key: &PathBuf| CertificateFiles { cert: cert.clone(), key: key.clone() };
        let rows = [
            (pair(&one.cert, &two.key), false, "is not the key of the first certificate"),
            (pair(&missing, &one.key), true, "cannot be read"),
            (pair(&one.cert, &missing), false, "cannot be read"),
            (pair(&garbage, &one.key), true, "is no PEM file with a certificate"),
            (pair(&one.key, &one.key), true, "holds no certificate"),
            (pair(&one.cert, &one.cert), false, "holds no private key"),
            (pair(&one.cert, &encrypted), false, "is encrypted"),
            (pair(&one.cert, &older), false, "is encrypted"),
        ];
        let files: Vec<CertificateFiles> = rows.iter().map(|(files, _, _)| files.clone()).collect();
        let errors = Certificates::load(&files).expect_err("nothing is right");
        assert_eq!(errors.len(), rows.len());
        for ((index, error), (files, of_certificate, text)) in errors.iter().zip(&rows) {
            assert_eq!(matches!(error, CertificateError::Certificate(_)), *of_certificate, "{index}: {files:?}");
            assert!(error.to_string().contains(text), "{index}: {error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(Certificates::load(&[]).expect("nothing is wrong with none").is_none());
    }
}
