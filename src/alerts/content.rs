//! What an alert says, and how it looks as text and as HTML.
//!
//! Everything from outside is shown so that it can neither break a line nor be taken for something else; the HTML has
//! nothing from elsewhere in it, no script and no link.

use std::fmt::Write as _;

/// The longest value that is shown.
const LONGEST: usize = 300;

/// What an alert says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// What it is about: the subject of a mail.
    pub(super) title: String,
    /// Said before anything else, where nothing was done.
    pub(super) observed: bool,
    /// What happened, in a few sentences.
    pub(super) lead: String,
    /// What is known of it: what, and its value.
    pub(super) facts: Vec<(String, String)>,
    /// One of many, each in a line of its own.
    pub(super) items: Vec<Item>,
    /// What an operator types next.
    pub(super) commands: Vec<String>,
    /// Who says so, and why to this one.
    pub(super) foot: String,
}

/// One of many findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    /// When.
    pub(super) at: String,
    /// What.
    pub(super) what: String,
    /// Of whom.
    pub(super) whom: String,
    /// Its name.
    pub(super) id: String,
}

const ONLY_OBSERVED: &str = "Only observed: nothing was done about it (monitor.mode = \"observe\").";

impl Content {
    /// What is said where nothing was done.
    pub(super) fn observed_note(&self) -> Option<&'static str> {
        self.observed.then_some(ONLY_OBSERVED)
    }

    /// As text, in lines that end with a line feed.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}\n", self.title);
        if self.observed {
            let _ = writeln!(text, "*** {ONLY_OBSERVED} ***\n");
        }
        let _ = writeln!(text, "{}", self.lead);
        let width = self.facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default() + 1;
        if !self.facts.is_empty() {
            text.push('\n');
        }
        for (name, value) in &self.facts {
            let name = format!("{name}:");
            let _ = writeln!(text, "{name:<width$} {value}");
        }
        if !self.items.is_empty() {
            text.push('\n');
        }
        for Item { at, what, whom, id } in &self.items {
            let _ = writeln!(text, "{at}  {what}\n    {whom}  ({id})");
        }
        if !self.commands.is_empty() {
            text.push('\n');
        }
        for command in &self.commands {
            let _ = writeln!(text, "    {command}");
        }
        let _ = writeln!(text, "\n-- \n{}", self.foot);
        text
    }

    /// As an HTML document.
    pub(super) fn html(&self) -> String {
        let mut html = String::from(HEAD);
        let _ = write!(html, "<h1 style=\"{H1}\">{}</h1>", escaped(&self.title));
        if self.observed {
            let _ = write!(html, "<p style=\"{NOTE}\">{}</p>", escaped(ONLY_OBSERVED));
        }
        for paragraph in self.lead.lines().filter(|line| !line.is_empty()) {
            let _ = write!(html, "<p style=\"{P}\">{}</p>", escaped(paragraph));
        }
        if !self.facts.is_empty() {
            let _ = write!(html, "<table role=\"presentation\" style=\"{TABLE}\">");
            for (name, value) in &self.facts {
                let (name, value) = (escaped(name), escaped(value));
                let _ = write!(
                    html,
                    "<tr><th scope=\"row\" style=\"{TH}\">{name}</th><td style=\"{TD}\">{value}</td></tr>"
                );
            }
            html.push_str("</table>");
        }
        if !self.items.is_empty() {
            let _ = write!(html, "<table style=\"{TABLE}\">");
            for Item { at, what, whom, id } in &self.items {
                let (at, what, whom, id) = (escaped(at), escaped(what), escaped(whom), escaped(id));
                let _ = write!(
                    html,
                    "<tr><td style=\"{TH}\">{at}</td><td style=\"{TD}\"><b>{what}</b><br>{whom}<br><span style=\"{SMALL}\">{id}</span></td></tr>"
                );
            }
            html.push_str("</table>");
        }
        for command in &self.commands {
            let _ = write!(html, "<pre style=\"{PRE}\">{}</pre>", escaped(command));
        }
        let _ = write!(html, "<p style=\"{SMALL}\">{}</p>", escaped(&self.foot));
        html.push_str("</div></body></html>\n");
        html
    }
}

const HEAD: &str = "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
    <meta name=\"viewport\" content=\"width=device-width\"><title>Security alert</title></head>\
    <body style=\"margin:0;background:#f3f4f6;color:#1f2937;font:15px/1.5 system-ui,sans-serif\">\
    <div style=\"max-width:40em;margin:0 auto;padding:1.5em;background:#ffffff\">";
const H1: &str = "margin:0 0 .8em;font-size:1.15em;line-height:1.3;word-break:break-word";
const P: &str = "margin:0 0 .8em";
const NOTE: &str =
    "margin:0 0 .8em;padding:.6em .8em;background:#fef3c7;border-left:.3em solid #b45309;font-weight:bold";
const TABLE: &str = "width:100%;margin:0 0 1em;border-collapse:collapse";
const TH: &str = "padding:.3em .8em .3em 0;border-top:1px solid #e5e7eb;text-align:left;vertical-align:top;font-weight:normal;color:#4b5563;white-space:nowrap";
const TD: &str = "padding:.3em 0;border-top:1px solid #e5e7eb;vertical-align:top;word-break:break-word";
const PRE: &str = "margin:0 0 .5em;padding:.5em .8em;background:#f3f4f6;white-space:pre-wrap;word-break:break-word;font:13px/1.5 ui-monospace,monospace";
const SMALL: &str = "margin:0;color:#6b7280;font-size:.85em";

/// For an element's text and an attribute's value.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// A text from outside, as part of one line: letters, digits and what is on a keyboard stay; all else, which could end the
/// line, turn the direction of writing or hide, becomes an escape.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    for character in text.chars().take(LONGEST) {
        if character == ' ' || character.is_ascii_graphic() || character.is_alphanumeric() {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
    }
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside_stays_in_its_line_and_is_no_html() {
        for (text, expected) in [
            ("Zürich, 東京", "Zürich, 東京"),
            ("a\r\nBcc: eve@example.com", "a\\r\\nBcc: eve@example.com"),
            ("a\u{202e}b\u{200b}c\u{2028}d", "a\\u{202e}b\\u{200b}c\\u{2028}d"),
            ("\u{1b}[2J\0", "\\u{1b}[2J\\u{0}"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), LONGEST + 1);
        let content = Content {
            title: "T".into(),
            facts: vec![("Agent".into(), "<img src=x onerror='a()'>&\"".into())],
            ..Content::default()
        };
        let html = content.html();
        assert!(html.contains("&lt;img src=x onerror=&#39;a()&#39;&gt;&amp;&quot;"), "{html}");
        assert!(!html.contains("<img") && !html.contains("http") && !html.contains("<a ") && !html.contains("<script"));
    }

    #[test]
    fn what_was_only_observed_says_so_before_anything_else() {
        let content = Content { title: "T".into(), observed: true, lead: "L".into(), ..Content::default() };
        let text = content.text();
        assert!(text.find("Only observed") < text.find("\nL\n") && text.contains("Only observed"), "{text}");
        assert!(content.html().contains("Only observed"));
    }
}
