//! New certificates without a restart: the files are watched, and a change is taken over when all of them are good.
//!
//! One that has expired, or is not valid yet, takes no place of one that is. Polled, for what renews certificates writes, renames or swaps links as it likes. Certificate and key are often
//! written one after the other; until they match, the old ones stay.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use super::{CertificateError, CertificateFiles, CertificateResolver, Certificates, Term};

/// How often the files are looked at. A look is one `stat` a file.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What changes when a file does: its device and inode, length and time of change.
type Look = Vec<Option<(u64, u64, u64, i64, i64)>>;

/// Who watches, and hears of what is found.
pub trait CertificateWatch {
    /// Seconds since the Unix epoch.
    fn now(&self) -> u64;

    /// What is to be known of the certificates: that changed ones cannot be used, that those in force end soon; `None`:
    /// nothing. Called when it changes.
    fn warn(&self, warning: Option<String>);

    /// When those in force are valid; at each look.
    fn in_force(&self, terms: &[Term], now: u64);
}

/// Watches the files for as long as it is polled.
pub async fn reload_when_changed(
    files: Vec<CertificateFiles>,
    resolver: Arc<CertificateResolver>,
    watch: impl CertificateWatch,
) {
    let files = Arc::new(files);
    // What keeps the last change from being taken over, and what was warned of.
    let mut refused = None;
    let mut warned = None;
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
            if let Some(loaded) = loaded {
                refused = take_over(loaded, &files, &resolver, watch.now()).err();
                if let Some(why) = &refused {
                    tracing::warn!(why, "the changed certificates cannot be used; the old ones stay in force");
                }
            }
        }
        let (in_force, now) = (resolver.in_force(), watch.now());
        watch.in_force(in_force.terms(), now);
        let refused = refused.as_ref().map(|why| format!("changed certificates cannot be used: {why}"));
        let ending = in_force.terms().iter().filter_map(|term| term.warning_at(now));
        let warnings: Vec<String> = refused.into_iter().chain(ending).collect();
        let warning = (!warnings.is_empty()).then(|| warnings.join("; "));
        if warning != warned {
            if let Some(warning) = &warning {
                tracing::warn!("{warning}");
            }
            watch.warn(warning.clone());
            warned = warning;
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

type Loading = Result<Option<Certificates>, Vec<(usize, CertificateError)>>;

/// Puts what was read in force, or says why not.
fn take_over(
    loaded: Loading,
    files: &[CertificateFiles],
    resolver: &CertificateResolver,
    now: u64,
) -> Result<(), String> {
    let certificates = match loaded {
        Ok(Some(certificates)) => certificates,
        Ok(None) => return Ok(()),
        Err(errors) => {
            let why: Vec<String> = errors.iter().map(|(index, error)| said_of(files.get(*index), error)).collect();
            return Err(why.join("; "));
        }
    };
    if let Some(why) = certificates.worse_than(Some(&resolver.in_force()), now) {
        return Err(why);
    }
    if resolver.replace(Arc::new(certificates)) {
        tracing::info!("new certificates are in force");
    }
    Ok(())
}

fn look(files: &[CertificateFiles]) -> Look {
    let one = |path| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
    };
    files.iter().flat_map(|files| [one(&files.cert), one(&files.key)]).collect()
}
