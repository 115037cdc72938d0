//! `server.tls` and `admin.tls`: the certificates of a listener.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Problems;
use super::raw::RawCertificate;
use super::reader::TableOrList;
use super::secrets::warn_of_readers;
use super::table::Field;
use crate::tls::{CertificateError, CertificateFiles, Certificates};

/// The certificates of a listener.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// Where they are, to be read again when they change.
    pub files: Vec<CertificateFiles>,
    /// As they were when the configuration was read.
    pub certificates: Arc<Certificates>,
}

/// `None`: the listener speaks plain HTTP (or something was wrong, and reported).
pub(super) fn tls(field: &Field<TableOrList<RawCertificate>>, problems: &mut Problems) -> Option<TlsConfig> {
    let TableOrList(tables) = field.get()?;
    if tables.is_empty() {
        problems.error(field.place(), "is empty; name a certificate and its key, or remove it");
    }
    let mut files = Vec::with_capacity(tables.len());
    let mut places = Vec::with_capacity(tables.len());
    for table in tables {
        let table = &table.value;
        let path = |text: &String| Ok(PathBuf::from(text));
        let cert = table.cert.require(problems, "cert = \"tls.crt\"", path);
        let key = table.key.require(problems, "key = \"tls.key\"", path);
        if let (Some(cert), Some(key)) = (cert, key) {
            warn_of_readers(Path::new(&key), table.key.place(), problems);
            files.push(CertificateFiles { cert, key });
            places.push((table.cert.place(), table.key.place()));
        }
    }
    match Certificates::load(&files) {
        Ok(certificates) => Some(TlsConfig { files, certificates: Arc::new(certificates?) }),
        Err(errors) => {
            for (index, error) in errors {
                let Some((cert, key)) = places.get(index) else { continue };
                let place = match error {
                    CertificateError::Certificate(_) => cert,
                    CertificateError::Key(_) => key,
                };
                problems.error(place, error.to_string());
            }
            None
        }
    }
}
