//! The corpora of the fuzz targets, replayed: what a search once found, and what is known to be nasty, each with its
//! neighbours. `scripts/fuzz` searches on from there (CONTRIBUTING.md).

#![expect(clippy::expect_used, clippy::panic, reason = "a property that does not hold fails the test")]
#![expect(unreachable_pub, reason = "the targets are shared with the guided search")]

use std::path::Path;

#[path = "../fuzz/targets/mod.rs"]
mod targets;

/// The inputs of a corpus by their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut inputs: Vec<_> = files
        .map(|file| file.expect("an entry").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a readable input")))
        .collect();
    inputs.sort();
    assert!(inputs.len() >= 10, "{target} has a corpus");
    inputs
}

/// Says which input broke the property, should it break.
fn check(target: targets::Check, name: &str, what: &str, input: &[u8]) {
    let outcome = std::panic::catch_unwind(|| target(input));
    assert!(outcome.is_ok(), "{name}, {what}: {:?}", String::from_utf8_lossy(input));
}

/// Each input, cut anywhere, with each byte changed in a few ways, and behind each other input.
fn replay(target: &str) {
    let (_, property) = targets::ALL.iter().find(|(name, _)| *name == target).expect("a target");
    let inputs = corpus(target);
    for (name, input) in &inputs {
        check(*property, name, "as it is", input);
        // Long inputs are there for their length.
        for at in 0..input.len().min(200) {
            check(*property, name, "cut", &input[..at]);
            for by in [0x01, 0x20, 0x80] {
                let mut changed = input.clone();
                changed[at] ^= by;
                check(*property, name, "changed", &changed);
            }
        }
        for (_, other) in inputs.iter().filter(|(_, other)| input.len() + other.len() < 2000) {
            check(*property, name, "before another", &[&input[..], other].concat());
        }
    }
}

macro_rules! replays {
    ($($name:ident: $target:literal,)+) => {
        $(#[test]
        fn $name() {
            replay($target);
        })+

        #[test]
        fn every_target_is_replayed() {
            let all: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
            assert_eq!(all, [$($target),+]);
        }
    };
}

replays! {
    an_answer_names_nobody_else_and_its_count_alone_is_changed: "answer",
    a_backends_answer_ends_in_one_place_however_its_bytes_come: "backend_answer",
    a_record_is_read_as_it_was_written_or_not_at_all: "codec",
    a_configuration_is_good_or_every_error_has_its_line: "config",
    our_cookie_is_out_and_the_others_are_what_they_were: "cookie",
    a_request_ends_in_one_place_however_its_bytes_come: "framing",
    no_header_that_is_left_reads_as_a_protected_one: "headers",
    a_set_of_keys_is_of_one_kind_and_no_secret_is_published: "jwks",
    a_path_has_one_normal_form_and_one_reading: "path",
    a_proxy_header_is_exactly_its_bytes_at_every_split: "proxy_header",
    a_token_has_one_spelling_and_one_signature: "token",
}
