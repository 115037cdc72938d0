//! Whether audit files are what the gateways wrote: every line in its place, none changed, none missing.
//!
//! Each file is read once, in any order, and in bounded memory: of a chain in a file only its first and last line are
//! kept. What the files are of each other, and of what the store was told, is found from these.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use serde::Serialize;

use super::chain::{ChainKey, Head, InstanceId, Mac, Sealed};
use super::files::{self, NextLine, next_line};
use super::record::AuditRecord;
use crate::clock::rfc3339;
use crate::store::audit::Anchor;

/// Findings that are told one by one.
const MOST_FINDINGS: usize = 50;
/// Chains in files that are told apart.
const MOST_SEGMENTS: usize = 10_000;
const BUFFER: usize = 256 * 1024;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 for the file as a whole.
    pub line: u64,
    /// What is wrong.
    pub what: String,
}

/// One chain, as far as the files hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// Its name.
    pub instance: String,
    /// Its first line here.
    pub first: u64,
    /// Its last line here.
    pub last: u64,
    /// When the first was written.
    pub since: String,
    /// The line up to which the store confirms it, if it knows the chain.
    pub anchored: Option<u64>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Lines that were read.
    pub lines: u64,
    /// Files that were read.
    pub files: usize,
    /// The chains.
    pub chains: Vec<ChainReport>,
    /// What is wrong, the first of it first.
    pub findings: Vec<Finding>,
    /// Further findings, which are not told one by one.
    pub more_findings: u64,
    /// What is no error but good to know.
    pub notes: Vec<String>,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_fine(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, file: &Path, line: u64, what: impl Into<String>) {
        if self.findings.len() < MOST_FINDINGS {
            self.findings.push(Finding { file: file.to_owned(), line, what: what.into() });
        } else {
            self.more_findings += 1;
        }
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MOST_FINDINGS {
            self.notes.push(note);
        }
    }
}

/// What the store says of the ends of the chains.
#[derive(Clone, Debug, Default)]
pub struct KnownEnds {
    /// Where chains stood, read before the files.
    pub anchors: Vec<Anchor>,
    /// The place that belongs to the files, when they are all there are of it: only then must they hold what was
    /// anchored there.
    pub complete_for: Option<String>,
}

/// The lines of one chain in one file.
struct Segment {
    file: usize,
    line: u64,
    instance: InstanceId,
    first: u64,
    /// The hash before the first line, by its own word.
    previous: Option<Mac>,
    /// Kept when only the file before can say whether it fits.
    unchecked: Option<Box<[u8]>>,
    since: String,
    last: Head,
}

/// The file that is being read, and where its chains are among the segments.
struct Here<'p> {
    path: &'p Path,
    file: usize,
    segments: HashMap<InstanceId, usize>,
}

/// Verifies files.
pub struct Verifier<'a> {
    key: &'a ChainKey,
    ends: KnownEnds,
    anchored: HashMap<InstanceId, (u64, String)>,
    files: Vec<PathBuf>,
    segments: Vec<Segment>,
    good: u64,
    report: VerifyReport,
}

impl<'a> Verifier<'a> {
    /// A check of nothing yet.
    #[must_use]
    pub fn new(key: &'a ChainKey, ends: KnownEnds) -> Self {
        let known =
            |anchor: &Anchor| Some((InstanceId::parse(anchor.instance.as_bytes())?, (anchor.seq, anchor.mac.clone())));
        let anchored = ends.anchors.iter().filter_map(known).collect();
        Self { key, ends, anchored, files: Vec::new(), segments: Vec::new(), good: 0, report: VerifyReport::default() }
    }

    /// Reads a file, unpacking it where its name says that it is compressed. What cannot be read is a finding.
    pub fn file(&mut self, path: &Path) {
        let outcome = match File::open(path) {
            Ok(file) if files::is_compressed(path) => {
                let unpacked = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, file));
                self.read(path, &mut BufReader::with_capacity(BUFFER, unpacked))
            }
            Ok(file) => self.read(path, &mut BufReader::with_capacity(BUFFER, file)),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            self.report.find(path, 0, format!("cannot be read: {error}"));
        }
    }

    fn read(&mut self, path: &Path, reader: &mut dyn BufRead) -> io::Result<()> {
        let file = self.files.len();
        self.files.push(path.to_owned());
        let mut here = Here { path, file, segments: HashMap::new() };
        let mut line = Vec::new();
        let mut number = 0;
        // What is no line of ours: where it begins, and its bytes.
        let mut gap: Option<(u64, u64)> = None;
        loop {
            let (length, sealed) = match next_line(reader, &mut line)? {
                NextLine::Whole(length) => (length, Sealed::read(&line)),
                NextLine::TooLong(length) => (length, None),
                NextLine::Unended(length) => {
                    self.report.note(format!(
                        "{}:{}: the last line is cut after {length} bytes: by a crash, or it is just being written",
                        path.display(),
                        number + 1
                    ));
                    break;
                }
                NextLine::End => break,
            };
            number += 1;
            let Some(sealed) = sealed else {
                let (_, bytes) = gap.get_or_insert((number, 0));
                *bytes += length;
                continue;
            };
            self.report.lines += 1;
            match gap.take() {
                // The feed that ended it was written with the next line.
                Some((at, bytes)) if sealed.torn + 1 == bytes => self.report.note(format!(
                    "{}:{at}: a line was cut after {} bytes, by a crash or a full disk",
                    path.display(),
                    sealed.torn
                )),
                Some((at, _)) => self.report.find(path, at, NO_LINE),
                None if sealed.torn > 0 => self.report.find(path, number, "the cut line before it was removed"),
                None => {}
            }
            self.line(&mut here, number, &sealed, &line);
            if self.segments.len() > MOST_SEGMENTS {
                self.report.find(path, number, format!("more than {MOST_SEGMENTS} chains: the rest was not read"));
                break;
            }
        }
        if let Some((at, _)) = gap {
            self.report.find(path, at, NO_LINE);
        }
        Ok(())
    }

    fn line(&mut self, here: &mut Here<'_>, number: u64, sealed: &Sealed<'_>, line: &[u8]) {
        let path = here.path;
        let head = sealed.head;
        if let Some((seq, mac)) = self.anchored.get(&head.instance)
            && *seq == head.seq
            && *mac != head.mac.to_string()
        {
            self.report.find(path, number, "not the line that the store knows of this number: written anew");
        }
        let Some(segment) = here.segments.get(&head.instance).and_then(|at| self.segments.get_mut(*at)) else {
            let previous = sealed.known_previous();
            match previous {
                Some(previous) if sealed.follows(&previous, self.key) => self.good += 1,
                Some(_) => self.report.find(path, number, CHANGED),
                None => {}
            }
            here.segments.insert(head.instance, self.segments.len());
            let unchecked = previous.is_none().then(|| line.into());
            let since = AuditRecord::read(line).map(|record| record.time).unwrap_or_default();
            let (instance, first) = (head.instance, head.seq);
            let (file, line, previous, last) = (here.file, number, sealed.previous, head);
            self.segments.push(Segment { file, line, instance, first, previous, unchecked, since, last });
            return;
        };
        let last = std::mem::replace(&mut segment.last, head);
        let expected = last.seq.saturating_add(1);
        if head.seq == expected {
            if sealed.follows(&last.mac, self.key) {
                self.good += 1;
            } else {
                self.report.find(path, number, CHANGED);
            }
        } else if head.seq > expected {
            self.report.find(path, number, missing(expected, head.seq));
        } else {
            self.report.find(path, number, out_of_order(expected, head.seq));
        }
    }

    /// What was found, once all files were read.
    #[must_use]
    pub fn finish(mut self) -> VerifyReport {
        self.report.files = self.files.len();
        if self.good == 0 && self.report.lines > 0 {
            let path = self.files.first().cloned().unwrap_or_default();
            self.report.findings.clear();
            self.report.more_findings = 0;
            self.report.find(&path, 1, WRONG_KEY);
            return self.report;
        }
        let mut chains: BTreeMap<InstanceId, Vec<Segment>> = BTreeMap::new();
        for segment in std::mem::take(&mut self.segments) {
            chains.entry(segment.instance).or_default().push(segment);
        }
        let oldest = chains.values().flatten().map(|segment| segment.since.clone()).min();
        for (instance, mut segments) in chains {
            segments.sort_by_key(|segment| (segment.first, segment.last.seq));
            self.join(&segments);
            self.compare_end(instance, &segments);
        }
        self.look_for_lost_chains(oldest.as_deref());
        self.report
    }

    /// Whether each part of a chain follows the one before it.
    fn join(&mut self, segments: &[Segment]) {
        let mut before: Option<&Segment> = None;
        for segment in segments {
            let path = self.files.get(segment.file).cloned().unwrap_or_default();
            let Some(last) = before else {
                if segment.unchecked.is_some() {
                    self.report.find(&path, segment.line, HEADLESS);
                } else if segment.first > 1 {
                    let (instance, first) = (segment.instance, segment.first);
                    self.report.note(format!("{}: chain {instance} begins with line {first} here", path.display()));
                }
                before = Some(segment);
                continue;
            };
            let expected = last.last.seq.saturating_add(1);
            if segment.first == expected {
                let follows = match (&segment.unchecked, segment.previous) {
                    (Some(line), _) => {
                        Sealed::read(line).is_some_and(|sealed| sealed.follows(&last.last.mac, self.key))
                    }
                    (None, Some(previous)) => previous == last.last.mac,
                    (None, None) => false,
                };
                if !follows {
                    self.report.find(&path, segment.line, CHANGED);
                }
            } else if segment.first > expected {
                self.report.find(&path, segment.line, missing(expected, segment.first));
            } else if (segment.first, segment.last) == (last.first, last.last) {
                self.report.note(format!("{}: holds the lines of another file once more", path.display()));
                continue;
            } else {
                self.report.find(&path, segment.line, out_of_order(expected, segment.first));
            }
            before = Some(segment);
        }
    }

    /// Whether a chain is here as far as the store knows it.
    fn compare_end(&mut self, instance: InstanceId, segments: &[Segment]) {
        let (Some(first), Some(last)) = (segments.first(), segments.iter().max_by_key(|segment| segment.last.seq))
        else {
            return;
        };
        let anchored = self.anchored.get(&instance).map(|(seq, _)| *seq);
        if let (Some(anchored), Some(_)) = (anchored, &self.ends.complete_for)
            && anchored > last.last.seq
        {
            let path = self.files.get(last.file).cloned().unwrap_or_default();
            let what = format!(
                "the end was cut off: the store knows line {anchored} of this chain, the last here is {}",
                last.last.seq
            );
            self.report.find(&path, 0, what);
        }
        self.report.chains.push(ChainReport {
            instance: instance.to_string(),
            first: first.first,
            last: last.last.seq,
            since: first.since.clone(),
            anchored: anchored.filter(|anchored| (first.first..=last.last.seq).contains(anchored)),
        });
    }

    /// Chains that were written to this place since these files begin, and of which they hold nothing.
    fn look_for_lost_chains(&mut self, oldest: Option<&str>) {
        let Some(place) = &self.ends.complete_for else { return };
        let mut lost = Vec::new();
        for anchor in self.ends.anchors.iter().filter(|anchor| anchor.place == *place) {
            let here = self.report.chains.iter().any(|chain| chain.instance == anchor.instance);
            if !here && oldest.is_none_or(|oldest| *rfc3339(anchor.time) >= *oldest) {
                lost.push(format!(
                    "nothing is left of chain {}: the store knows its line {} of {}",
                    anchor.instance,
                    anchor.seq,
                    rfc3339(anchor.time)
                ));
            }
        }
        let path = self.files.first().cloned().unwrap_or_default();
        for what in lost {
            self.report.find(&path, 0, what);
        }
    }
}

const NO_LINE: &str = "not a line of the audit log: changed, or added by somebody else";
const CHANGED: &str = "changed: its hash does not fit it and the line before";
const HEADLESS: &str = "lines before it were removed: a file does not begin like this";
const WRONG_KEY: &str =
    "no line fits the key: it is not the one that they were written with (or every line was changed)";

fn missing(expected: u64, found: u64) -> String {
    match found - 1 {
        last if last == expected => format!("line {expected} of the chain is missing before it: removed, or moved"),
        last => format!("lines {expected} to {last} of the chain are missing before it: removed, or moved"),
    }
}

fn out_of_order(expected: u64, found: u64) -> String {
    format!("out of order: line {found} of the chain where {expected} should be; moved, or written twice")
}

#[cfg(test)]
mod tests;
