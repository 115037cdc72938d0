//! `[errors]`: the operator's own pages.

use std::fs;
use std::path::Path;

use super::address::file_path;
use super::error::{Place, Problems};
use super::raw::RawErrors;

use super::value::quoted;
use crate::http::{Language, PageName, Pages, Template};
use crate::settled;

/// The largest page, and the most of them in all languages.
const LARGEST_PAGE: u64 = 256 << 10;
const MOST_PAGES: usize = 200;
/// The most entries of a folder that are looked at.
const MOST_ENTRIES: usize = 1000;

/// How failures are shown.
#[derive(Clone, Debug, Default)]
pub struct ErrorsConfig {
    /// The pages for people.
    pub pages: Pages,
}

pub(super) fn errors(raw: &RawErrors, problems: &mut Problems) -> ErrorsConfig {
    let mut pages = Pages::default();
    let folder = raw.pages.get().filter(|folder| !folder.is_empty());
    if let Some(folder) = folder {
        let place = raw.pages.place();
        match file_path(folder.trim_end_matches('/')) {
            Ok(path) => Folder { place, problems, pages: &mut pages, count: 0 }.read(&path, None),
            Err(message) => problems.error(place, message),
        }
    }
    ErrorsConfig { pages }
}

/// The folder that is read, with what was found in it.
struct Folder<'a> {
    place: &'a Place,
    problems: &'a mut Problems,
    pages: &'a mut Pages,
    count: usize,
}

impl Folder<'_> {
    /// Reads the pages of a folder and, unless it is one of a `language` itself, of those of languages in it.
    fn read(&mut self, folder: &Path, language: Option<&Language>) {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let message = format!("{} is not a folder that can be read: {error}", folder.display());
                return self.problems.error(self.place, message);
            }
        };
        let mut paths: Vec<_> = entries.take(MOST_ENTRIES).filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                let of = Language::parse(name).filter(|_| language.is_none());
                if let Some(of) = of {
                    self.read(&path, Some(&of));
                }
            } else if let Some(name) = name.strip_suffix(".html") {
                match PageName::parse(name) {
                    Some(known) => self.page(&path, language, known),
                    None => self.problems.error(
                        self.place,
                        format!(
                            "{} is no page that is ever shown; call it by a status as in 401.html, 4xx.html, 5xx.html or \
                             maintenance.html, or move it away",
                            path.display()
                        ),
                    ),
                }
            }
        }
    }

    fn page(&mut self, path: &Path, language: Option<&Language>, name: PageName) {
        self.count += 1;
        if self.count > MOST_PAGES {
            if self.count == MOST_PAGES + 1 {
                self.problems.error(self.place, format!("has more than {MOST_PAGES} pages; keep fewer"));
            }
            return;
        }
        let text = settled::read(path, LARGEST_PAGE).map_err(|error| error.to_string()).and_then(|settled| {
            String::from_utf8(settled.bytes).map_err(|_| String::from("is not UTF-8; save it as UTF-8"))
        });
        match text {
            Ok(text) => {
                if let Some(unknown) = Template::unknown_slot(&text) {
                    let message = format!(
                        "{} has {}, which nothing is filled in for; there are {{status}}, {{code}}, {{message}}, \
                         {{request_id}} and {{login_url}}",
                        path.display(),
                        quoted(unknown)
                    );
                    self.problems.warn(self.place, message);
                }
                self.pages.insert(language.cloned(), name, Template::parse(&text));
            }
            Err(message) => self.problems.error(self.place, format!("{} {message}", path.display())),
        }
    }
}
