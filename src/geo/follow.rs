//! New databases without a restart: their files are watched, and a change is taken over when it can be read.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Geo;
use super::database::Kind;
use super::loaded::{Loaded, age_warning, all, load};
use crate::monitor::GeoFiles;

/// How often the files are looked at. A look is one `stat` a file.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Who says which files there are to be, and hears of what is found.
pub trait GeoWatch {
    /// The files; `None`: none.
    fn files(&self) -> Option<GeoFiles>;

    /// Seconds since the Unix epoch.
    fn now(&self) -> u64;

    /// What is to be known of the databases: that one is not there, broken or old; `None`: nothing. Called when it changes.
    fn warn(&self, warning: Option<String>);

    /// How old those in force are, in seconds; at each look.
    fn ages(&self, ages: &[(&'static str, u64)]);
}

/// What changes when a file does: its device and inode, length and time of change.
type Look = Option<(u64, u64, u64, i64, i64)>;

fn look(file: &Path) -> Look {
    let found = std::fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

/// What is known of the files.
#[derive(Default)]
struct Seen {
    files: Option<GeoFiles>,
    looks: HashMap<PathBuf, Look>,
    /// What is wrong with those that could not be read.
    wrong: Vec<String>,
    /// When those in force were built.
    built: Vec<(Kind, u64)>,
}

/// Follows the files for as long as it is polled.
pub async fn follow(geo: Arc<Geo>, watch: impl GeoWatch) {
    let (mut seen, mut warned) = (Seen::default(), None);
    loop {
        let files = watch.files();
        // A panic in there is in the log; what is in force stays.
        if let Ok(now) = tokio::task::spawn_blocking({
            let geo = geo.clone();
            move || look_again(&geo, seen, files)
        })
        .await
        {
            seen = now;
        } else {
            seen = Seen::default();
        }
        let now = watch.now();
        let ages: Vec<_> = seen.built.iter().map(|(kind, built)| (kind.as_str(), now.saturating_sub(*built))).collect();
        watch.ages(&ages);
        let old = seen.built.iter().filter_map(|(kind, built)| age_warning(*kind, *built, now));
        let warnings: Vec<String> = seen.wrong.iter().cloned().chain(old).collect();
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

/// Looks at the files, and reads all of them anew if one changed. One that cannot be read any more leaves those in force
/// as they are, where the configuration names the same files.
fn look_again(geo: &Geo, seen: Seen, files: Option<GeoFiles>) -> Seen {
    let Some(wanted) = files else {
        geo.put_in_force(None);
        return Seen::default();
    };
    let looks: HashMap<PathBuf, Look> = all(&wanted).map(|(_, file)| (file.to_owned(), look(file))).collect();
    let same_files = seen.files.as_ref() == Some(&wanted);
    if same_files && seen.looks == looks {
        return seen;
    }
    let (mut loaded, mut wrong) = (Loaded::default(), Vec::new());
    for (kind, file) in all(&wanted) {
        match load(kind, file) {
            Ok(database) => loaded.add(kind, database),
            Err(why) => wrong.push(why),
        }
    }
    let keeps = same_files && !wrong.is_empty() && geo.knows_places();
    let built = if keeps {
        wrong.iter_mut().for_each(|why| why.push_str(" (the one before stays in force)"));
        seen.built
    } else {
        let built = loaded.built().collect();
        if loaded.knows_places() {
            tracing::info!("the databases of places are in force");
        }
        geo.put_in_force(Some(loaded));
        built
    };
    Seen { files: Some(wanted), looks, wrong, built }
}

#[cfg(test)]
mod tests {
    use super::super::database::tests::{asn, geolite2, written};
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// As whoever renames a finished file into place.
        fn put(&self, name: &str, bytes: &[u8]) {
            std::fs::write(self.path("new"), bytes).expect("writes");
            std::fs::rename(self.path("new"), self.path(name)).expect("renames");
        }

        fn files(&self) -> GeoFiles {
            GeoFiles { city: vec![self.path("city")], asn: vec![self.path("asn")] }
        }
    }

    fn name(geo: &Geo) -> Option<(String, Option<u32>)> {
        geo.locate([192, 0, 2, 7].into()).map(|place| (place.name(), place.asn))
    }

    fn city(name: &str) -> Vec<u8> {
        written(&[("192.0.2.0/24", geolite2(52.52, 13.4, 20, "DE", name))])
    }

    #[test]
    fn a_database_is_taken_over_when_it_changes_and_a_broken_one_is_not() {
        let (folder, geo) = (Folder::new(), Geo::default());
        let seen = look_again(&geo, Seen::default(), Some(folder.files()));
        assert_eq!((name(&geo), seen.wrong.len()), (None, 2), "there is none");
        folder.put("city", &city("Berlin"));
        let seen = look_again(&geo, seen, Some(folder.files()));
        assert_eq!((name(&geo), seen.wrong.len()), (Some(("Berlin, DE".into(), None)), 1));
        folder.put("asn", &written(&[("192.0.2.0/24", asn(64_512, "Example"))]));
        let seen = look_again(&geo, seen, Some(folder.files()));
        assert_eq!((name(&geo), seen.wrong.len()), (Some(("Berlin, DE".into(), Some(64_512))), 0));
        assert_eq!(seen.built, [(Kind::City, 1_700_000_000), (Kind::Asn, 1_700_000_000)]);
        folder.put("city", b"broken");
        let seen = look_again(&geo, seen, Some(folder.files()));
        assert!(seen.wrong.len() == 1 && seen.wrong[0].contains("stays in force"), "{:?}", seen.wrong);
        assert_eq!(name(&geo), Some(("Berlin, DE".into(), Some(64_512))));
        folder.put("city", &city("Bernau"));
        let seen = look_again(&geo, seen, Some(folder.files()));
        assert_eq!((name(&geo), seen.wrong.len()), (Some(("Bernau, DE".into(), Some(64_512))), 0));
        look_again(&geo, seen, None);
        assert_eq!(name(&geo), None, "none is wanted any more");
    }

    #[test]
    fn what_is_missing_broken_or_old_is_said() {
        let folder = Folder::new();
        folder.put("city", &city("Berlin"));
        folder.put("asn", b"x");
        let at = |days: u64| super::super::examine(&folder.files(), 1_700_000_000 + days * 86_400);
        assert!(at(0).len() == 1 && at(0)[0].contains("monitor.geo.asn") && at(0)[0].contains("broken"), "{:?}", at(0));
        assert_eq!(at(45).len(), 1);
        assert!(at(46)[1].contains("46 days old"), "{:?}", at(46));
    }
}
