//! What pages are made of: forms, tables, times, and values from outside, which can neither be HTML nor hide.

use std::fmt::Write as _;

use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::clock::WallTime;

/// The field of every form by which it is known to be of a page of ours.
pub(super) const FORM_TOKEN: &str = "form_token";
/// The longest value that is shown whole, in characters.
const LONGEST: usize = 1000;

/// A value that somebody else chose: apart from the text around it, whichever way it is written, and with all that is
/// invisible made visible.
pub(super) fn outside(text: &str) -> Markup {
    let mut shown = String::with_capacity(text.len());
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            shown.push('…');
            break;
        }
        if is_invisible(c) {
            // Writing into a text cannot fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    html! { bdi { (shown) } }
}

/// Controls, and what turns, joins or hides the text around it (Unicode's `Bidi_Control` and `Default_Ignorable` ones).
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// A value that may not be there.
pub(super) fn maybe(value: Option<&str>) -> Markup {
    value.map_or_else(|| html! { span.none { "–" } }, outside)
}

/// Named values, as evidence and details have them.
pub(super) fn values(values: &Map<String, Value>) -> Markup {
    html! {
        dl.values {
            @for (name, value) in values {
                div { dt { (outside(&name.replace('_', " "))) } dd { (value_of(value)) } }
            }
        }
    }
}

fn value_of(value: &Value) -> Markup {
    match value {
        Value::String(text) => outside(text),
        other => outside(&other.to_string()),
    }
}

/// What an error says in small, as a sentence.
pub(super) fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let first: String = rest.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with(['.', '!', '?', '…']) { "" } else { "." };
    format!("{first}{}{end}", rest.as_str())
}

/// A time, and how far it is from now. `text` is as the calls write it (RFC 3339).
pub(super) fn moment(text: &str, now: WallTime) -> Markup {
    let Ok(time) = text.parse::<jiff::Timestamp>() else { return outside(text) };
    let shown = time.strftime("%Y-%m-%d %H:%M:%S");
    let micros = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    html! {
        time datetime=(text) { (shown.to_string()) " UTC" }
        " " span.distance { "(" (distance(time.as_microsecond().saturating_sub(micros) / 1_000_000)) ")" }
    }
}

/// So many seconds from now, before or after.
fn distance(seconds: i64) -> String {
    let size = seconds.unsigned_abs();
    let (number, unit) = match size {
        0..60 => (size, "s"),
        60..3600 => (size / 60, "min"),
        3600..172_800 => (size / 3600, "h"),
        _ => (size / 86_400, "days"),
    };
    match seconds {
        0 => String::from("now"),
        1.. => format!("in {number} {unit}"),
        _ => format!("{number} {unit} ago"),
    }
}

/// A form that changes something.
pub(super) fn form(form_token: &str, action: &str, class: &str, content: &Markup) -> Markup {
    html! {
        form method="post" action=(action) class=(class) {
            input type="hidden" name=(FORM_TOKEN) value=(form_token);
            (content)
        }
    }
}

/// The field for the operator's words.
pub(super) fn reason_field() -> Markup {
    html! {
        label { "Reason, for the audit log " span.none { "(may be left out)" }
            input name="reason" maxlength="200" autocomplete="off";
        }
    }
}

/// A text field of a form that asks.
pub(super) fn field(label: &str, name: &str, value: Option<&str>) -> Markup {
    html! { label { (label) input name=(name) value=(value.unwrap_or_default()) maxlength="1000" autocomplete="off" spellcheck="false" autocapitalize="none"; } }
}

/// A choice of a form that asks: what is sent, and what is shown; the empty one first.
pub(super) fn choice(label: &str, name: &str, all: &str, options: &[(&str, &str)], chosen: Option<&str>) -> Markup {
    html! {
        label { (label)
            select name=(name) {
                option value="" { (all) }
                @for (value, shown) in options {
                    option value=(value) selected[chosen == Some(*value)] { (shown) }
                }
            }
        }
    }
}

/// A form that asks.
pub(super) fn filter(action: &str, fields: &Markup) -> Markup {
    html! {
        form.filter method="get" action=(action) role="search" { (fields) button { "Show" } }
    }
}

/// A table that is a list of cards where there is no room for columns; hence the roles, which would be lost with the
/// columns.
pub(super) fn table(caption: &str, columns: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        table role="table" {
            caption { (caption) }
            thead role="rowgroup" {
                tr role="row" { @for column in columns { th scope="col" role="columnheader" { (column) } } }
            }
            tbody role="rowgroup" {
                @for row in rows {
                    tr role="row" {
                        @for (cell, column) in row.iter().zip(columns) {
                            td role="cell" data-label=(column) { (cell) }
                        }
                    }
                }
            }
        }
    }
}

/// The way to the next page of a list.
pub(super) fn more(link: Option<&str>, words: &str) -> Markup {
    html! { @if let Some(link) = link { p.more { a href=(link) rel="next" { (words) } } } }
}

/// What a page that is open asks for again by itself. `newest` says whether there is something new.
pub(super) fn live(id: &str, newest: &str, content: &Markup) -> Markup {
    html! { div id=(id) data-live data-newest=(newest) { (content) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_is_no_html_turns_no_text_and_hides_nothing() {
        for (text, expected) in [
            ("</script><b a=\"'\">&", "&lt;/script&gt;&lt;b a=&quot;'&quot;&gt;&amp;"),
            ("abc\u{202e}cba\u{2066}", "abc\\u{202e}cba\\u{2066}"),
            ("a\u{200b}b\u{feff}\n\0", "a\\u{200b}b\\u{feff}\\u{a}\\u{0}"),
            ("Zoë 東京", "Zoë 東京"),
        ] {
            assert_eq!(outside(text).0, format!("<bdi>{expected}</bdi>"));
        }
        assert_eq!(outside(&"é".repeat(5000)).0.chars().count(), "<bdi></bdi>".len() + LONGEST + 1);
    }

    #[test]
    fn a_value_that_somebody_chose_cannot_leave_the_attribute_that_it_stands_in() {
        let shown = field("User", "user", Some("\" autofocus onfocus=alert(1) x=\"")).0;
        assert!(shown.contains("value=\"&quot; autofocus onfocus=alert(1) x=&quot;\""), "{shown}");
    }

    #[test]
    fn times_say_how_far_they_are_from_now() {
        let now = WallTime::from_micros(1_763_976_000_000_000);
        for (text, expected) in [
            ("2025-11-24T09:20:00.000Z", "now"),
            ("2025-11-24T09:20:59.999Z", "in 59 s"),
            ("2025-11-24T09:18:00.000Z", "2 min ago"),
            ("2025-11-23T09:20:00.000Z", "24 h ago"),
            ("2025-11-21T09:20:00.000Z", "3 days ago"),
            ("2025-11-24T11:21:00.000Z", "in 2 h"),
        ] {
            let shown = moment(text, now).0;
            assert!(shown.contains(&format!("({expected})")), "{text}: {shown}");
        }
        assert_eq!(moment("<yesterday>", now).0, "<bdi>&lt;yesterday&gt;</bdi>");
    }

    #[test]
    fn an_error_is_a_sentence() {
        for (text, expected) in [
            ("the body is larger than 16 KiB", "The body is larger than 16 KiB."),
            ("über alles…", "Über alles…"),
            ("", "."),
        ] {
            assert_eq!(sentence(text), expected);
        }
    }
}
