//! Where the key of the chain comes from: `secrets.key`, or a file of its own beside the audit file.
//!
//! The file is made once and kept, or a restart could not go on with the chain. It proves less than a configured key:
//! who can read it can write a log that verifies.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::chain::ChainKey;
use crate::entropy::Entropy;
use crate::secret::Secret;

/// Characters of a made key: 32 bytes as base64url.
const LENGTH: usize = 43;

/// The key file that belongs to an audit file.
#[must_use]
pub fn key_file(audit_file: &Path) -> PathBuf {
    let mut name = audit_file.as_os_str().to_owned();
    name.push(".key");
    PathBuf::from(name)
}

/// The key that was kept beside an audit file.
///
/// # Errors
/// When it cannot be read, or is not one that was made here.
pub fn read(path: &Path) -> io::Result<ChainKey> {
    let mut text = String::new();
    File::open(path)?.take(LENGTH as u64 + 2).read_to_string(&mut text)?;
    let key = text.trim_end();
    if key.len() == LENGTH && URL_SAFE_NO_PAD.decode(key).is_ok() {
        Ok(ChainKey::derived_from(&Secret::new(key)))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "it holds no key that was made here"))
    }
}

/// The key kept beside an audit file, made (mode 0600) where there is none yet. Answers whether it was made.
pub(super) fn read_or_make(path: &Path, entropy: &dyn Entropy) -> io::Result<(ChainKey, bool)> {
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        outcome => return outcome.map(|key| (key, false)),
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Written aside and linked into place: two gateways that start at once agree on one, and a crash leaves no half.
    let made = folder.join(format!(".{}.key", fresh(entropy)?));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&made)?;
    let linked = file
        .write_all(format!("{}\n", fresh(entropy)?).as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::hard_link(&made, path));
    std::fs::remove_file(&made)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    // Some file systems have no way to ask for that.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    read(path).map(|key| (key, true))
}

/// A key for this run alone.
pub(super) fn ephemeral(entropy: &dyn Entropy) -> io::Result<ChainKey> {
    Ok(ChainKey::derived_from(&Secret::new(fresh(entropy)?)))
}

fn fresh(entropy: &dyn Entropy) -> io::Result<String> {
    let mut bytes = [0; 32];
    entropy.fill(&mut bytes).map_err(io::Error::other)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn a_key_is_made_once_for_the_owner_alone_and_found_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = key_file(&folder.path().join("new/audit.jsonl"));
        assert!(path.ends_with("new/audit.jsonl.key"));
        let (_, made) = read_or_make(&path, &SystemEntropy).expect("makes one");
        assert!(made);
        let text = std::fs::read_to_string(&path).expect("is there");
        assert_eq!(std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        let (_, made) = read_or_make(&path, &SystemEntropy).expect("finds it");
        assert!(!made);
        assert_eq!(std::fs::read_to_string(&path).expect("is there"), text);
        assert_eq!(std::fs::read_dir(path.parent().expect("a folder")).expect("reads").count(), 1);
    }

    #[test]
    fn what_is_no_key_is_an_error_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.jsonl.key");
        for wrong in ["", "short\n", &"x".repeat(44), &"!".repeat(43)] {
            std::fs::write(&path, wrong).expect("writes");
            assert!(read_or_make(&path, &SystemEntropy).is_err());
            assert_eq!(std::fs::read_to_string(&path).expect("is there"), wrong);
        }
    }
}
