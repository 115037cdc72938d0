use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::audit::chain::Chain;
use crate::audit::event::{Actor, AuditEvent, AuditType, Details, Outcome};
use crate::clock::WallTime;
use crate::secret::Secret;

fn key() -> ChainKey {
    ChainKey::derived_from(&Secret::new("k"))
}

fn chain(name: u8) -> Chain {
    Chain::after(key(), Head::start_of(InstanceId::of_random([name; 9])))
}

fn add(chain: &mut Chain, out: &mut Vec<u8>, count: usize) {
    for n in 0..count {
        let time = WallTime::from_micros(1_700_000_000_000_000 + chain.head().seq * 1_000_000);
        let event = AuditEvent::new(time, AuditType::SessionCreated, Outcome::Success, Actor::User);
        chain.append(&event.with_details(Details::none().count("n", n as u64)), out);
    }
}

fn anchor(head: Head) -> Anchor {
    let (instance, mac) = (head.instance.to_string(), head.mac.to_string());
    Anchor { instance, seq: head.seq, mac, time: 1_800_000_000_000_000, place: String::from("here") }
}

fn ends(anchors: Vec<Anchor>) -> KnownEnds {
    KnownEnds { anchors, complete_for: Some(String::from("here")) }
}

fn verify(texts: &[&[u8]], ends: KnownEnds) -> VerifyReport {
    let key = key();
    let mut verifier = Verifier::new(&key, ends);
    for (at, text) in texts.iter().enumerate() {
        verifier.read(&PathBuf::from(format!("f{at}")), &mut &text[..]).expect("memory");
    }
    verifier.finish()
}

/// Three files of one chain, and where it stands at the end.
fn three_files() -> ([Vec<u8>; 3], Head) {
    let mut chain = chain(1);
    let mut files = [Vec::new(), Vec::new(), Vec::new()];
    for file in &mut files {
        chain.open_file(0);
        add(&mut chain, file, 5);
    }
    (files, chain.head())
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Where the first finding is, and what.
fn first(report: &VerifyReport) -> (String, u64, &str) {
    let finding = report.findings.first().expect("something is wrong");
    (finding.file.display().to_string(), finding.line, finding.what.as_str())
}

#[test]
fn what_was_written_is_fine_in_whatever_order_the_files_are_read() {
    let ([a, b, c], head) = three_files();
    for order in [[&a, &b, &c], [&c, &a, &b], [&b, &c, &a]] {
        let order = order.map(Vec::as_slice);
        let report = verify(&order, ends(vec![anchor(head)]));
        assert_eq!((report.findings.as_slice(), report.lines, report.files), (&[][..], 15, 3));
        let [chain] = report.chains.as_slice() else { panic!("one chain") };
        assert_eq!((chain.first, chain.last, chain.anchored), (1, 15, Some(15)));
    }
}

#[test]
fn a_file_can_be_checked_when_older_ones_are_gone() {
    let ([_, b, c], head) = three_files();
    let report = verify(&[&b, &c], ends(vec![anchor(head)]));
    assert!(report.is_fine());
    assert!(report.notes.iter().any(|note| note.contains("begins with line 6")));
}

#[test]
fn what_is_wrong_is_named_with_file_and_line() {
    let ([a, b, c], head) = three_files();
    let report = |a: &[u8], b: &[u8], c: &[u8]| verify(&[a, b, c], ends(vec![anchor(head)]));
    let edit = |text: &[u8], edit: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = lines(text);
        edit(&mut lines);
        lines.concat()
    };
    let check = |report: &VerifyReport, file: &str, line: u64, says: &str| {
        let found = first(report);
        assert!((found.0.as_str(), found.1) == (file, line) && found.2.contains(says), "{found:?}, not {says}");
    };
    let changed = edit(&b, &|lines| lines[2] = String::from_utf8_lossy(&lines[2]).replace("\"n\":2", "\"n\":7").into());
    let found = report(&a, &changed, &c);
    check(&found, "f1", 3, "changed");
    assert_eq!(found.findings.len(), 1, "the lines after it are as they were");
    check(&report(&a, &edit(&b, &|lines| drop(lines.remove(2))), &c), "f1", 3, "line 8 of the chain is missing");
    check(&report(&a, &edit(&b, &|lines| drop(lines.drain(1..3))), &c), "f1", 2, "lines 7 to 8");
    check(&report(&a, &edit(&b, &|lines| lines.swap(2, 3)), &c), "f1", 3, "moved");
    check(&report(&a, &edit(&b, &|lines| lines.insert(2, lines[1].clone())), &c), "f1", 3, "out of order");
    check(&report(&a, &edit(&b, &|lines| lines.insert(2, b"{\"type\":\"x\"}\n".to_vec())), &c), "f1", 3, "not a line");
    check(&report(&a, &edit(&b, &|lines| lines[2].insert(5, b'\n')), &c), "f1", 3, "not a line");
    check(&report(&a, &edit(&b, &|lines| drop(lines.remove(0))), &c), "f1", 1, "line 6 of the chain is missing");
    check(&report(&edit(&a, &|lines| drop(lines.remove(0))), &b, &c), "f0", 1, "lines before it were removed");
    check(&report(&a, b"", &c), "f2", 1, "lines 6 to 10");
    check(&report(&a, &b, &edit(&c, &|lines| drop(lines.pop()))), "f2", 0, "the end was cut off");
    check(&verify(&[&a, &b], ends(vec![anchor(head)])), "f1", 0, "the end was cut off");
}

#[test]
fn another_key_is_named_as_such() {
    let ([a, _, _], _) = three_files();
    let other = ChainKey::derived_from(&Secret::new("other"));
    let mut verifier = Verifier::new(&other, KnownEnds::default());
    verifier.read(Path::new("f"), &mut &a[..]).expect("memory");
    let report = verifier.finish();
    assert!(first(&report).2.contains("no line fits the key"));
    assert_eq!(report.findings.len(), 1);
}

#[test]
fn a_line_cut_by_a_crash_is_reported_and_no_error() {
    let mut chain = chain(1);
    let mut text = Vec::new();
    add(&mut chain, &mut text, 2);
    let at_the_end = [&text[..], b"{\"time\":\"20"].concat();
    let report = verify(&[&at_the_end], KnownEnds::default());
    assert!(report.is_fine() && report.notes.len() == 1, "{report:?}");
    text = at_the_end;
    text.push(b'\n');
    chain.open_file(11);
    add(&mut chain, &mut text, 2);
    let report = verify(&[&text], KnownEnds::default());
    assert!(report.is_fine() && report.notes.len() == 1, "{report:?}");
    let longer = String::from_utf8(text.clone()).expect("ASCII").replace("\"20\n", "\"2026\n");
    assert!(!verify(&[longer.as_bytes()], KnownEnds::default()).is_fine(), "not what the next line says");
    let removed = String::from_utf8(text).expect("ASCII").replace("{\"time\":\"20\n", "");
    assert!(!verify(&[removed.as_bytes()], KnownEnds::default()).is_fine());
}

#[test]
fn chains_of_several_gateways_in_one_file_are_told_apart() {
    let (mut one, mut other) = (chain(1), chain(2));
    let mut text = Vec::new();
    for _ in 0..10 {
        add(&mut one, &mut text, 1);
        add(&mut other, &mut text, 2);
    }
    let report = verify(&[&text], ends(vec![anchor(one.head()), anchor(other.head())]));
    assert_eq!((report.findings.as_slice(), report.chains.len(), report.lines), (&[][..], 2, 30));
    let mut without = lines(&text);
    without.truncate(28);
    let report = verify(&[&without.concat()], ends(vec![anchor(one.head()), anchor(other.head())]));
    assert!(first(&report).2.contains("the end was cut off"));
}

#[test]
fn a_chain_that_the_store_knows_of_this_place_must_be_here() {
    let ([a, b, c], head) = three_files();
    let mut gone = anchor(Head { instance: InstanceId::of_random([9; 9]), ..head });
    let report = verify(&[&a, &b, &c], ends(vec![anchor(head), gone.clone()]));
    assert!(first(&report).2.contains("nothing is left of chain"));
    gone.place = String::from("elsewhere");
    assert!(verify(&[&a, &b, &c], ends(vec![gone.clone()])).is_fine());
    gone.place = String::from("here");
    gone.time = 1_600_000_000_000_000;
    assert!(verify(&[&a, &b, &c], ends(vec![gone])).is_fine(), "it ended before these files begin");
}

#[test]
fn a_log_written_anew_with_the_key_is_not_what_the_store_knows() {
    let ([a, _, _], head) = three_files();
    let mut forged = Vec::new();
    let mut chain = chain(1);
    add(&mut chain, &mut forged, 16);
    assert!(!verify(&[&forged], ends(vec![anchor(head)])).is_fine());
    assert!(
        verify(&[&a], KnownEnds { anchors: vec![anchor(head)], complete_for: None }).is_fine(),
        "an old file alone"
    );
}

#[test]
fn compressed_files_and_copies_are_read_and_unreadable_ones_are_findings() {
    let ([a, b, c], head) = three_files();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(&a).expect("memory");
    std::fs::write(path("a.jsonl.2.gz"), packed.finish().expect("memory")).expect("writes");
    for (name, text) in [("a.jsonl.1", &b), ("a.jsonl.1.copy", &b), ("a.jsonl", &c)] {
        std::fs::write(path(name), text).expect("writes");
    }
    std::fs::write(path("broken.gz"), "not packed").expect("writes");
    let key = key();
    let mut verifier = Verifier::new(&key, ends(vec![anchor(head)]));
    for name in ["a.jsonl.2.gz", "a.jsonl.1", "a.jsonl.1.copy", "a.jsonl"] {
        verifier.file(&path(name));
    }
    let report = verifier.finish();
    assert_eq!((report.findings.as_slice(), report.chains[0].last), (&[][..], 15));
    assert!(report.notes.iter().any(|note| note.contains("once more")));
    for name in ["broken.gz", "missing"] {
        let mut verifier = Verifier::new(&key, KnownEnds::default());
        verifier.file(&path(name));
        assert!(first(&verifier.finish()).2.contains("cannot be read"));
    }
}

/// What somebody may do to a file.
#[derive(Clone, Debug)]
enum Tampering {
    Change(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Delete(prop::sample::Index),
    RemoveLine(prop::sample::Index),
    RepeatLine(prop::sample::Index, prop::sample::Index),
    SwapLines(prop::sample::Index, prop::sample::Index),
    CutOff(prop::sample::Index),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 1..=255_u8).prop_map(|(at, flip)| Tampering::Change(at, flip)),
        (index(), any::<u8>()).prop_map(|(at, byte)| Tampering::Insert(at, byte)),
        index().prop_map(Tampering::Delete),
        index().prop_map(Tampering::RemoveLine),
        (index(), index()).prop_map(|(from, to)| Tampering::RepeatLine(from, to)),
        (index(), index()).prop_map(|(one, other)| Tampering::SwapLines(one, other)),
        index().prop_map(Tampering::CutOff),
    ]
}

fn tamper(text: &mut Vec<u8>, with: &Tampering) {
    let mut lines = lines(text);
    match with {
        Tampering::Change(at, flip) => {
            let at = at.index(text.len());
            text[at] ^= flip;
            return;
        }
        Tampering::Insert(at, byte) => return text.insert(at.index(text.len()), *byte),
        Tampering::Delete(at) => {
            text.remove(at.index(text.len()));
            return;
        }
        Tampering::CutOff(at) => return text.truncate(at.index(text.len())),
        Tampering::RemoveLine(at) => drop(lines.remove(at.index(lines.len()))),
        Tampering::RepeatLine(from, to) => {
            let line = lines[from.index(lines.len())].clone();
            lines.insert(to.index(lines.len() + 1), line);
        }
        Tampering::SwapLines(one, other) => {
            let count = lines.len();
            lines.swap(one.index(count), other.index(count));
        }
    }
    *text = lines.concat();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_change_at_any_place_of_any_file_is_found(which in 0..3_usize, tampering in tampering()) {
        let (mut files, head) = three_files();
        let before = files[which].clone();
        tamper(&mut files[which], &tampering);
        prop_assume!(files[which] != before);
        // The whole oldest file may go: that is what retention does.
        prop_assume!(which > 0 || files[which].contains(&b'\n'));
        let [a, b, c] = &files;
        prop_assert!(!verify(&[a, b, c], ends(vec![anchor(head)])).is_fine(), "{:?}", tampering);
    }

    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..2000)) {
        drop(verify(&[&text], KnownEnds::default()));
    }
}
