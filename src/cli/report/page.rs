//! A report as one page, to be read, printed or sent: pictures and style are in it, nothing comes from elsewhere, and nothing
//! in it runs.

use maud::{DOCTYPE, Markup, html};

use super::sums::{Sums, heading};
use crate::monitor::Report;

const STYLE: &str = include_str!("page.css");
/// A picture's size, in its own units.
const WIDTH: u32 = 340;
const HEIGHT: u32 = 130;
/// Room above the highest bar for its number, and below for the days.
const TOP: u32 = 16;
const BOTTOM: u32 = 18;
/// Days that have their date below them, at most about.
const MOST_DATES: usize = 7;
/// Days that have their number above them.
const MOST_NUMBERS: usize = 14;

/// The page.
pub(super) fn page(report: &Report) -> String {
    let sums = Sums::of(report);
    let heading = heading(report);
    let by_severity = |at: usize, severity: &str| {
        let date = report.days.get(at).map_or("", |day| day.date.as_str());
        let found = report.findings.iter().filter(|found| found.date == date && found.severity == severity);
        found.map(|found| found.count).sum::<u64>()
    };
    let findings: Vec<_> = (0..report.days.len())
        .map(|at| ["high", "medium", "low"].map(|severity| (severity, by_severity(at, severity))).to_vec())
        .collect();
    let logins: Vec<_> = report
        .days
        .iter()
        .map(|day| vec![("logins", day.logins), ("failures", day.failures.unwrap_or_default())])
        .collect();
    let has_failures = report.tenant.is_none();
    let logins_title = if has_failures { "Logins, and failures above them" } else { "Logins" };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (heading) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { (heading) }
                div.pictures {
                    (picture("Findings", report, &findings))
                    (picture(logins_title, report, &logins))
                }
                @for block in sums.blocks(report) {
                    @if !block.rows.is_empty() {
                        section {
                            h2 { (block.title) }
                            table {
                                thead { tr { @for column in block.columns { th scope="col" { (column) } } } }
                                tbody { @for row in &block.rows { tr { @for cell in row { td { (cell) } } } } }
                            }
                        }
                    }
                }
                footer { "session-gateway " (env!("CARGO_PKG_VERSION")) }
            }
        }
    };
    page.into_string()
}

/// Bars by day, their parts one above the other.
fn picture(title: &str, report: &Report, days: &[Vec<(&'static str, u64)>]) -> Markup {
    let total = |parts: &[(&str, u64)]| parts.iter().fold(0_u64, |sum, (_, count)| sum.saturating_add(*count));
    let highest = days.iter().map(|parts| total(parts)).max().unwrap_or(0).max(1);
    let all = days.iter().fold(0_u64, |sum, parts| sum.saturating_add(total(parts)));
    let (room, base) = (f64::from(HEIGHT - TOP - BOTTOM), f64::from(HEIGHT - BOTTOM));
    let slot = f64::from(WIDTH) / f64::from(u32::try_from(days.len()).unwrap_or(u32::MAX)).max(1.0);
    let every = days.len().div_ceil(MOST_DATES).max(1);
    html! {
        figure {
            figcaption { (title) ": " (all) }
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label={ (title) ": " (all) ", by day as in the table below" } {
                line x1="0" x2=(WIDTH) y1=(number(base)) y2=(number(base)) {}
                @for (at, (parts, day)) in days.iter().zip(&report.days).enumerate() {
                    @let left = f64::from(u32::try_from(at).unwrap_or(u32::MAX)) * slot;
                    g {
                        title { (day.date) @for (name, count) in parts { ", " (count) " " (name) } }
                        @for (name, below, count) in stacked(parts) {
                            @let (bottom, top) = (share(below, highest) * room, share(below.saturating_add(count), highest) * room);
                            rect class=(name) x=(number(left + slot * 0.12)) width=(number(slot * 0.76))
                                y=(number(base - top)) height=(number(top - bottom)) {}
                        }
                        @if total(parts) > 0 && days.len() <= MOST_NUMBERS {
                            text x=(number(left + slot / 2.0)) y=(number(base - share(total(parts), highest) * room - 4.0)) { (total(parts)) }
                        }
                    }
                    @if at % every == 0 {
                        text x=(number(left + slot / 2.0)) y=(number(f64::from(HEIGHT) - 4.0)) { (day.date.get(5..).unwrap_or_default()) }
                    }
                }
            }
        }
    }
}

/// The parts of a bar that are there: what is below each.
fn stacked(parts: &[(&'static str, u64)]) -> Vec<(&'static str, u64, u64)> {
    let mut below = 0_u64;
    let mut stacked = Vec::new();
    for (name, count) in parts.iter().filter(|(_, count)| *count > 0) {
        stacked.push((*name, below, *count));
        below = below.saturating_add(*count);
    }
    stacked
}

/// Which part of `whole` it is; both far below what a float counts exactly, or near enough.
#[expect(clippy::cast_precision_loss, reason = "a picture is a few hundred units high")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

fn number(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::super::tests::week;
    use super::*;
    use crate::monitor::{CountOf, Day};

    #[test]
    fn a_page_has_its_pictures_and_numbers_and_nothing_from_elsewhere() {
        let page = page(&week());
        assert_eq!(page.matches("<svg").count(), 2);
        for text in
            ["<rect class=\"high\"", "<rect class=\"failures\"", ">2026-11-30</td>", "25 %", "aria-label=\"Findings: 4"]
        {
            assert!(page.contains(text), "{text}: {page}");
        }
        for never in ["<script", "http:", "https:", "url(", "@import", "src=", "href="] {
            assert!(!page.contains(never), "{never}");
        }
        assert!(page.contains("&lt;script&gt;alert(1)"), "what a client chose is text");
    }

    #[test]
    fn a_quarter_of_a_year_without_anything_is_drawn_too() {
        let last: Day = "2026-11-30".parse().expect("a day");
        let days: Vec<_> = last.before(91).until(last).map(|day| (day, Vec::new())).collect();
        let page = page(&Report::of(&CountOf::All, &days));
        assert!(!page.contains("NaN") && !page.contains("inf") && !page.contains("<rect"));
    }
}
