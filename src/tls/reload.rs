//! New certificates without a restart: the files are watched, and a change is taken over when all of them are good.
//!
//! Polled, for what renews certificates writes, renames or swaps links as it likes. Certificate and key are often
//! written one after the other; until they match, the old ones stay.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use super::{CertificateError, CertificateFiles, CertificateResolver, Certificates};

/// How often the files are looked at. A look is one `stat` a file.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What changes when a file does: its device and inode, length and time of change.
type Look = Vec<Option<(u64, u64, u64, i64, i64)>>;

/// Watches the files for as long as it is polled. `told` hears of each attempt to take over a change: `None` when it
/// went well, else why not.
pub async fn reload_when_changed(
    files: Vec<CertificateFiles>,
    resolver: Arc<CertificateResolver>,
    told: impl Fn(Option<String>),
) {
    let files = Arc::new(files);
    // Nothing is known of what the files were when they were first read, so the first look reads them again.
    let mut seen = Look::new();
    loop {
        let attempt = tokio::task::spawn_blocking({
            let (files, seen) = (files.clone(), seen.clone());
            move || {
                let now = look(&files);
                let loaded = (now != seen).then(|| Certificates::load(&files));
                (now, loaded)
            }
        });
        // An error is a panic in there, which is in the log; the certificates in force stay.
        if let Ok((now, loaded)) = attempt.await {
            seen = now;
            match loaded {
                None | Some(Ok(None)) => {}
                Some(Ok(Some(certificates))) => {
                    if resolver.replace(Arc::new(certificates)) {
                        tracing::info!("new certificates are in force");
                    }
                    told(None);
                }
                Some(Err(errors)) => {
                    let why: Vec<String> =
                        errors.iter().map(|(index, error)| said_of(files.get(*index), error)).collect();
                    let why = why.join("; ");
                    tracing::warn!(why, "the changed certificates cannot be used; the old ones stay in force");
                    told(Some(format!("changed certificates cannot be used: {why}")));
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The file that is at fault, and what is wrong: it was read before, so that its name is one.
fn said_of(files: Option<&CertificateFiles>, error: &CertificateError) -> String {
    let Some(files) = files else { return error.to_string() };
    let file = match error {
        CertificateError::Certificate(_) => &files.cert,
        CertificateError::Key(_) => &files.key,
    };
    format!("{}: {error}", file.display())
}

fn look(files: &[CertificateFiles]) -> Look {
    let one = |path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    };
    files.iter().flat_map(|files| [one(&files.cert), one(&files.key)]).collect()
}
