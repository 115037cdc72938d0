//! What people are shown of the API's answers: aligned columns that fit the terminal. Whatever a session holds, a cell
//! is one line of visible ASCII: a control character cannot move the cursor or make up a row.

use serde_json::Value;

use super::output::{complain, say, say_json};
use crate::http::printable;

/// The longest cell, in bytes of the value.
const LONGEST_CELL: usize = 300;
/// A column is not made narrower.
const NARROWEST: usize = 8;
const GAP: &str = "  ";

/// A column: its heading, and the member of an item that it shows.
pub(super) type Column = (&'static str, &'static str);

/// Prints a list: a table, or `{"items": […]}`.
pub(super) fn show_list(columns: &[Column], items: &[Value], json: bool, none: &str) {
    if json {
        say_json(&serde_json::json!({ "items": items }));
    } else if items.is_empty() {
        say(none);
    } else {
        let (lines, left_out) = lines(columns, items, terminal_width());
        for line in lines {
            say(line);
        }
        if !left_out.is_empty() {
            let left_out = left_out.join(", ");
            complain(format_args!("the terminal is too narrow for {left_out}; --json shows all"));
        }
    }
}

/// Prints one item: a member a line, or the object itself.
pub(super) fn show_item(columns: &[Column], item: &Value, json: bool) {
    if json {
        return say_json(item);
    }
    let widest = columns.iter().map(|(heading, _)| heading.len()).max().unwrap_or(0);
    for (heading, member) in columns {
        say(format_args!("{heading:widest$}{GAP}{}", cell(item, member)));
    }
}

/// A table, its heading first, and the headings of what it has no room for. The first column is never cut: it is what
/// other commands are told.
fn lines(columns: &[Column], items: &[Value], width: Option<usize>) -> (Vec<String>, Vec<&'static str>) {
    let mut rows = vec![columns.iter().map(|(heading, _)| (*heading).to_owned()).collect::<Vec<_>>()];
    rows.extend(items.iter().map(|item| columns.iter().map(|(_, member)| cell(item, member)).collect()));
    let mut widths: Vec<usize> = vec![0; columns.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    if let Some(width) = width {
        fit(&mut widths, width);
    }
    let left_out = columns.iter().skip(widths.len()).map(|(heading, _)| *heading).collect();
    (rows.iter().map(|cells| row(cells, &widths)).collect(), left_out)
}

/// Takes from the widest column until the table fits; where nothing can be taken, the last column goes.
pub(super) fn fit(widths: &mut Vec<usize>, most: usize) {
    while widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1) > most && widths.len() > 1 {
        let widest = widths.iter_mut().skip(1).max_by_key(|width| **width);
        match widest.filter(|width| **width > NARROWEST) {
            Some(width) => *width -= 1,
            None => drop(widths.pop()),
        }
    }
}

/// A line of a table: as many cells as there are widths, cut to them; a width of 0 cuts nothing.
pub(super) fn row(cells: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{:width$}", cut(cell, *width))).collect();
    cells.join(GAP).trim_end().to_owned()
}

/// Cells are ASCII: a byte is a column.
fn cut(cell: &str, width: usize) -> String {
    if cell.len() <= width || width == 0 {
        return cell.to_owned();
    }
    format!("{}...", cell.get(..width.saturating_sub(3)).unwrap_or_default())
}

/// What is shown of a member.
pub(super) fn cell(item: &Value, member: &str) -> String {
    match item.get(member) {
        None | Some(Value::Null) => String::from("-"),
        Some(Value::Bool(yes)) => String::from(if *yes { "yes" } else { "no" }),
        Some(Value::String(text)) if member == "time" || member.ends_with("_at") => time(text),
        Some(Value::String(text)) => shown(text),
        Some(other) => shown(&other.to_string()),
    }
}

/// A text from outside as one line.
pub(super) fn shown(text: &str) -> String {
    printable(text.as_bytes(), LONGEST_CELL)
}

/// `2026-11-28T12:04:40.123Z` to the second, with a space: it is read, not computed with.
fn time(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => shown(text),
    }
}

/// `None`: standard output is no terminal, and nothing is cut.
pub(super) fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: [Column; 4] = [("ID", "id"), ("AGENT", "agent"), ("LAST SEEN", "last_seen_at"), ("OK", "ok")];

    #[test]
    fn columns_are_aligned_times_readable_and_nothing_is_a_dash() {
        let items = [
            json!({"id": "a", "agent": "Firefox on Linux", "last_seen_at": "2026-11-28T12:04:40.123Z", "ok": true}),
            json!({"id": "long", "agent": null, "ok": false}),
        ];
        assert_eq!(
            lines(&COLUMNS, &items, None).0,
            [
                "ID    AGENT             LAST SEEN             OK",
                "a     Firefox on Linux  2026-11-28 12:04:40Z  yes",
                "long  -                 -                     no",
            ]
        );
    }

    #[test]
    fn nothing_that_a_session_holds_breaks_the_table() {
        let items = [json!({"id": "a\n\u{1b}[2Jb", "agent": "\u{202e}x\r\u{9b}", "last_seen_at": "\u{7}", "ok": null})];
        let (lines, _) = lines(&COLUMNS, &items, None);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.bytes().all(|byte| (b' '..=b'~').contains(&byte))), "{lines:?}");
    }

    #[test]
    fn a_table_fits_the_terminal_and_its_first_column_is_whole() {
        let items =
            [json!({"id": "0123456789abcdefghijkl", "agent": "x".repeat(200), "last_seen_at": null, "ok": true})];
        let (cut, left_out) = lines(&COLUMNS, &items, Some(60));
        assert_eq!(left_out, [""; 0]);
        let (narrow, left_out) = lines(&COLUMNS, &items, Some(40));
        assert_eq!(left_out, ["LAST SEEN", "OK"]);
        assert!(narrow.iter().all(|line| line.len() <= 40) && narrow[1].starts_with("0123456789abcdefghijkl  "));
        let (narrowest, _) = lines(&COLUMNS, &items, Some(10));
        assert_eq!(narrowest, ["ID", "0123456789abcdefghijkl"], "the first column is whole");
        let lines = cut;
        assert!(lines.iter().all(|line| line.len() <= 60), "{lines:?}");
        assert!(lines[1].starts_with("0123456789abcdefghijkl  xxx") && lines[1].contains("..."), "{lines:?}");
    }
}
