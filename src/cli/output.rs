//! What a command leaves: lines on standard output, complaints on standard error, an exit code.

use std::fmt::Display;
use std::io::Write as _;

use crate::json_line;

/// Failed while running.
pub const FAILED: u8 = 1;
/// Bad usage or bad configuration.
pub const BAD_CONFIGURATION: u8 = 2;

/// Writes a line to standard output. A reader that has gone away is no failure.
pub(super) fn say(line: impl Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Writes a document to standard output, in ASCII but for letters: what a session holds is its client's choice, and
/// must not reach the terminal as an order. JSON reads the same.
pub(super) fn say_json(document: &serde_json::Value) {
    say(escaped(&document.to_string()));
}

pub(super) fn escaped(json: &str) -> String {
    let mut text = Vec::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() || c.is_alphanumeric() {
            text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            json_line::escape(&mut text, c);
        }
    }
    String::from_utf8(text).unwrap_or_default()
}

/// Writes bytes to standard output as they are. A reader that has gone away is no failure.
pub(super) fn write_out(bytes: &[u8]) {
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(bytes).and_then(|()| output.flush());
}

/// Writes a line to standard error.
pub(super) fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_chose_gives_no_orders_to_the_terminal_of_who_reads_json() {
        let value = serde_json::json!({ "agent": "\u{9b}31mü\u{202e}\u{1b}[2J\u{1f600}" });
        let text = escaped(&value.to_string());
        assert_eq!(text, "{\"agent\":\"\\u009b31mü\\u202e\\u001b[2J\\ud83d\\ude00\"}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON"), value);
    }
}
