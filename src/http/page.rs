//! Pages for people: what a browser shows where the gateway answers by itself.
//!
//! Pure. Whatever is filled in is escaped, for an element's text and for an attribute's value alike. The built-in page has
//! nothing from elsewhere; an operator's own templates may have what they like.

use std::borrow::Cow;
use std::collections::BTreeMap;

use ::http::header::HeaderValue;

/// The most languages of one `Accept-Language` that are looked at.
const MOST_RANGES: usize = 20;
/// The language of the built-in page, and of templates that are in no folder of a language.
const DEFAULT_LANGUAGE: &str = "en";
/// The longest name of a language (RFC 5646 §4.4.1).
const LONGEST_LANGUAGE: usize = 35;

/// What a page says.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The status of the answer.
    pub status: u16,
    /// Its error code.
    pub code: &'a str,
    /// What happened, as a sentence.
    pub message: &'a str,
    /// The name of the exchange.
    pub request_id: &'a str,
    /// Where to log in.
    pub login_url: &'a str,
    /// Whether logging in would mend it.
    pub asks_for_login: bool,
}

/// A page as HTML.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendered<'a> {
    /// The document.
    pub html: String,
    /// Its language, where that is known.
    pub language: Option<&'a str>,
    /// Whether it is the built-in one.
    pub built_in: bool,
}

/// Which answers a template is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageName {
    /// One status.
    Status(u16),
    /// All of a hundred: `4` for `4xx`.
    Class(u16),
    /// The maintenance mode.
    Maintenance,
}

impl PageName {
    /// Reads `401`, `5xx` or `maintenance`.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "maintenance" => Some(Self::Maintenance),
            "4xx" => Some(Self::Class(4)),
            "5xx" => Some(Self::Class(5)),
            _ => name.parse().ok().filter(|status| (400..600).contains(status) && name.len() == 3).map(Self::Status),
        }
    }

    /// The templates that fit, the best first.
    fn of(page: &Page<'_>) -> impl Iterator<Item = Self> + Clone + use<> {
        let maintenance = (page.code == "maintenance").then_some(Self::Maintenance);
        maintenance.into_iter().chain([Self::Status(page.status), Self::Class(page.status / 100)])
    }
}

/// A language's name in lower case, as in `de` or `pt-br`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Language(Box<str>);

impl Language {
    /// Reads a language's name (RFC 5646): two or three letters, perhaps with what narrows it down.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let mut parts = name.split('-');
        let first = parts.next()?;
        let is_language = (2..=3).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_alphabetic());
        let narrows =
            |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let valid = name.len() <= LONGEST_LANGUAGE && is_language && parts.all(narrows);
        valid.then(|| Self(name.to_ascii_lowercase().into()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Status,
    Code,
    Message,
    RequestId,
    LoginUrl,
}

const SLOTS: [(&str, Slot); 5] = [
    ("{status}", Slot::Status),
    ("{code}", Slot::Code),
    ("{message}", Slot::Message),
    ("{request_id}", Slot::RequestId),
    ("{login_url}", Slot::LoginUrl),
];

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Slot(Slot),
}

/// A page with places to fill in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

impl Template {
    /// Reads a template. Braces around anything but the name of a place are text: style sheets have many.
    #[must_use]
    pub fn parse(mut text: &str) -> Self {
        let mut pieces = Vec::new();
        let next = |text: &str| {
            SLOTS.into_iter().filter_map(|(name, slot)| Some((text.find(name)?, name.len(), slot))).min_by_key(|f| f.0)
        };
        while let Some((at, length, slot)) = next(text) {
            let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
            pieces.extend((!before.is_empty()).then(|| Piece::Text(before.into())));
            pieces.push(Piece::Slot(slot));
            text = rest.get(length..).unwrap_or_default();
        }
        pieces.extend((!text.is_empty()).then(|| Piece::Text(text.into())));
        Self(pieces)
    }

    /// What looks like the name of a place and is none.
    #[must_use]
    pub fn unknown_slot(text: &str) -> Option<&str> {
        let names = text.match_indices('{').filter_map(|(at, _)| {
            let rest = text.get(at..)?;
            let end = rest.find('}')?;
            let name = rest.get(..=end)?;
            let inner = name.get(1..end)?;
            let is_name = inner.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
            (is_name && !inner.is_empty() && inner.len() <= 40).then_some(name)
        });
        let mut unknown = names.filter(|name| !SLOTS.iter().any(|(slot, _)| slot == name));
        unknown.next()
    }

    fn fill(&self, page: &Page<'_>) -> String {
        let mut html = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => html.push_str(text),
                Piece::Slot(Slot::Status) => html.push_str(&page.status.to_string()),
                Piece::Slot(Slot::Code) => html.push_str(&escaped(page.code)),
                Piece::Slot(Slot::Message) => html.push_str(&escaped(page.message)),
                Piece::Slot(Slot::RequestId) => html.push_str(&escaped(page.request_id)),
                Piece::Slot(Slot::LoginUrl) => html.push_str(&escaped(page.login_url)),
            }
        }
        html
    }
}

/// A text in which nothing is HTML any more, in quotes or without.
fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '<', '>', '"', '\'']) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// All templates; without any there is the built-in page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Of no named language.
    plain: BTreeMap<PageName, Template>,
    by_language: BTreeMap<Language, BTreeMap<PageName, Template>>,
}

impl Pages {
    /// Adds a template, of a language or of none.
    pub fn insert(&mut self, language: Option<Language>, name: PageName, template: Template) {
        let templates = match language {
            None => &mut self.plain,
            Some(language) => self.by_language.entry(language).or_default(),
        };
        templates.insert(name, template);
    }

    /// The page for a browser that asks for these languages.
    #[must_use]
    pub fn render(&self, accept_language: Option<&HeaderValue>, page: &Page<'_>) -> Rendered<'_> {
        let fits = |templates: &'_ BTreeMap<PageName, Template>| {
            PageName::of(page).find_map(|name| templates.get(&name).map(|template| template.fill(page)))
        };
        let accepted = accept_language.and_then(|line| line.to_str().ok()).unwrap_or_default();
        for range in if self.by_language.is_empty() { Vec::new() } else { ranges(accepted) } {
            if let Some((language, templates)) = self.lookup(range)
                && let Some(html) = fits(templates)
            {
                return Rendered { html, language: Some(&language.0), built_in: false };
            }
            if is_default(range) {
                break;
            }
        }
        match fits(&self.plain) {
            Some(html) => Rendered { html, language: None, built_in: false },
            None => Rendered { html: built_in(page), language: Some(DEFAULT_LANGUAGE), built_in: true },
        }
    }

    /// The templates of a language, or of the one that it narrows down (RFC 4647 §3.4).
    fn lookup(&self, range: &str) -> Option<(&Language, &BTreeMap<PageName, Template>)> {
        let mut range = Some(range);
        while let Some(name) = range {
            let found = Language::parse(name).and_then(|language| self.by_language.get_key_value(&language));
            if found.is_some() {
                return found;
            }
            range = name.rsplit_once('-').map(|(wider, _)| wider);
        }
        None
    }
}

fn is_default(range: &str) -> bool {
    range == "*" || range.split('-').next().is_some_and(|language| language.eq_ignore_ascii_case(DEFAULT_LANGUAGE))
}

/// The languages of an `Accept-Language`, the dearest first (RFC 9110 §12.5.4).
fn ranges(accepted: &str) -> Vec<&str> {
    let mut ranges: Vec<(u16, &str)> = accepted
        .split(',')
        .take(MOST_RANGES)
        .filter_map(|range| {
            let (name, weight) = range.split_once(';').unwrap_or((range, "q=1"));
            let weight = thousandths(weight.trim().strip_prefix(['q', 'Q'])?.trim_start().strip_prefix('=')?.trim())?;
            (weight > 0).then_some((weight, name.trim()))
        })
        .collect();
    ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    ranges.into_iter().map(|(_, name)| name).collect()
}

/// A weight of up to three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = rest.len() <= 3 && rest.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "0" if digits => format!("{rest:0<3}").parse().ok(),
        "1" if digits && rest.bytes().all(|byte| byte == b'0') => Some(1000),
        _ => None,
    }
}

const STYLE: &str = "
  :root { color-scheme: light dark; }
  body { margin: 0; font: 1.0625rem/1.5 system-ui, sans-serif; color: #1b1b1b; background: #fff; }
  main { max-width: 34rem; margin: 0 auto; padding: 12vh 1.25rem 2rem; }
  h1 { margin: 0 0 .75rem; font-size: 1.6rem; line-height: 1.25; }
  a { color: #0b57d0; }
  dl { margin: 2rem 0 0; padding-top: 1rem; border-top: 1px solid #8a8a8a; font-size: .875rem; }
  dt, dd { display: inline; margin: 0; }
  dd { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
  dd::after { content: \"\"; display: block; }
  @media (prefers-color-scheme: dark) { body { color: #ececec; background: #161616; } a { color: #a8c7fa; } }
";

/// The page where there is no template.
fn built_in(page: &Page<'_>) -> String {
    let title = title(page);
    let login = if page.asks_for_login {
        format!("<p><a href=\"{}\">Log in</a></p>\n", escaped(page.login_url))
    } else {
        String::new()
    };
    format!(
        "<!doctype html>\n<html lang=\"{DEFAULT_LANGUAGE}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n<p>{message}</p>\n{login}<dl>\n\
         <div><dt>Status:</dt> <dd>{status}</dd></div>\n<div><dt>Code:</dt> <dd>{code}</dd></div>\n\
         <div><dt>Request:</dt> <dd>{request_id}</dd></div>\n</dl>\n</main>\n</body>\n</html>\n",
        message = escaped(page.message),
        status = page.status,
        code = escaped(page.code),
        request_id = escaped(page.request_id),
    )
}

fn title(page: &Page<'_>) -> &'static str {
    match page.status {
        _ if page.code == "maintenance" => "Back soon",
        401 => "Please log in",
        403 => "This is not allowed",
        408 => "This took too long",
        413 | 431 => "This is too large",
        421 => "Not served here",
        429 => "Not now",
        500..=502 => "Something went wrong",
        503 | 504 => "Please try again in a moment",
        _ => "This request cannot be answered",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: Page<'static> = Page {
        status: 401,
        code: "session_required",
        message: "Please log in.",
        request_id: "r1",
        login_url: "/login",
        asks_for_login: true,
    };

    fn language(name: &str) -> Language {
        Language::parse(name).unwrap_or_else(|| panic!("{name}"))
    }

    fn pages() -> Pages {
        let mut pages = Pages::default();
        for (folder, name) in [
            ("", "401"),
            ("", "5xx"),
            ("", "maintenance"),
            ("de", "401"),
            ("de", "5xx"),
            ("pt-BR", "503"),
            ("fr", "4xx"),
        ] {
            let template = Template::parse(&format!("{folder}/{name} {{status}}"));
            let name = PageName::parse(name).expect("a name");
            pages.insert((!folder.is_empty()).then(|| language(folder)), name, template);
        }
        pages
    }

    #[test]
    fn a_template_is_chosen_by_status_and_language() {
        for (status, code, accepted, expected) in [
            (401, "", "", "/401 401"),
            (401, "", "de", "de/401 401"),
            (401, "", "de-AT,de;q=0.9", "de/401 401"),
            (401, "", "en, de;q=0.9", "/401 401"),
            (401, "", "it, de;q=0.5, fr;q=0.7", "fr/4xx 401"),
            (401, "", "de;q=0, fr", "fr/4xx 401"),
            (401, "", "*", "/401 401"),
            (503, "", "pt-BR", "pt-BR/503 503"),
            (503, "", "PT-br-x-y", "pt-BR/503 503"),
            (502, "", "pt-BR", "/5xx 502"),
            (502, "", "pt-BR, de;q=0.1", "de/5xx 502"),
            (503, "maintenance", "", "/maintenance 503"),
            (503, "maintenance", "de", "de/5xx 503"),
            (401, "", "de;q=9, fr;x=1, ;;, q=1", "/401 401"),
        ] {
            let accepted = HeaderValue::from_static(accepted);
            let set = pages();
            let rendered = set.render(Some(&accepted), &Page { status, code, ..PAGE });
            assert_eq!(rendered.html, expected, "{status} {code} {accepted:?}");
        }
        let set = pages();
        assert!(set.render(None, &Page { status: 413, ..PAGE }).built_in);
        assert_eq!(set.render(Some(&HeaderValue::from_static("de-CH")), &PAGE).language, Some("de"));
    }

    #[test]
    fn what_is_filled_in_is_text_and_never_html() {
        let evil = "<script>alert('1')</script>\" onload=\"x & {code}";
        let page = Page { message: evil, request_id: evil, code: evil, login_url: evil, ..PAGE };
        let template = Template::parse("<a href=\"{login_url}\" title='{message}'>{code}{request_id}</a>{status}");
        for html in [template.fill(&page), built_in(&page)] {
            assert!(!html.contains("<script") && !html.contains("onload=\"") && !html.contains("'1'"), "{html}");
            assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x &amp; {code}"));
        }
    }

    #[test]
    fn braces_of_style_sheets_are_text_and_misspelt_places_are_told() {
        let text = "<style>p { color: red } a{color:blue}</style>{status}{ status }";
        assert_eq!(Template::parse(text).fill(&PAGE), text.replace("{status}", "401"));
        assert_eq!(Template::unknown_slot(text), None);
        assert_eq!(Template::unknown_slot("{status} {request-id}"), Some("{request-id}"));
        assert_eq!(Template::unknown_slot("{message}{mesage}"), Some("{mesage}"));
    }

    #[test]
    fn the_built_in_page_asks_for_nothing_from_elsewhere_and_names_what_happened() {
        for status in 400..600 {
            let html = built_in(&Page { status, ..PAGE });
            assert!(!html.contains("http:") && !html.contains("https:") && !html.contains("src="), "{html}");
            for text in ["lang=\"en\"", "<title>", "<main>", "<h1>", "session_required", "r1", "href=\"/login\""] {
                assert!(html.contains(text), "{status} {text}");
            }
        }
        assert!(!built_in(&Page { asks_for_login: false, ..PAGE }).contains("href"));
    }

    #[test]
    fn names_of_templates_and_languages_are_what_they_can_be() {
        for (name, known) in [
            ("401", true),
            ("5xx", true),
            ("maintenance", true),
            ("399", false),
            ("600", false),
            ("0401", false),
            ("xx", false),
        ] {
            assert_eq!(PageName::parse(name).is_some(), known, "{name}");
        }
        for (name, known) in [
            ("de", true),
            ("pt-BR", true),
            ("zh-Hant-TW", true),
            ("assets", false),
            ("d", false),
            ("de_AT", false),
            ("..", false),
        ] {
            assert_eq!(Language::parse(name).is_some(), known, "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_a_template_without_places_is_itself(
            text in any::<String>(),
            accepted in "[a-z;=,*q0-9. -]{0,60}",
        ) {
            let set = pages();
            let _ = set.render(HeaderValue::from_str(&accepted).ok().as_ref(), &PAGE);
            let _ = (Template::unknown_slot(&text), PageName::parse(&text), Language::parse(&text));
            if !SLOTS.iter().any(|(name, _)| text.contains(name)) {
                prop_assert_eq!(Template::parse(&text).fill(&PAGE), text);
            }
        }
    }
}
