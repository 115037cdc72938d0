//! Findings by day, drawn: one bar a day, its parts by severity, and the same numbers as a table for who does not see it.

use maud::{Markup, PreEscaped, html};

use super::parts::table;

/// Its size, in units that are pixels where a phone is 320 wide.
const WIDTH: u32 = 300;
const HEIGHT: u32 = 150;
/// Room above the highest bar for its number, and below for the days.
const TOP: u32 = 16;
const BOTTOM: u32 = 20;

/// The findings of a day, by severity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Day {
    /// As `2026-11-24`, in UTC.
    pub(super) date: String,
    pub(super) high: u64,
    pub(super) medium: u64,
    pub(super) low: u64,
}

impl Day {
    fn total(&self) -> u64 {
        self.high + self.medium + self.low
    }

    /// From the bottom up, as they are drawn.
    fn parts(&self) -> [(&'static str, u64); 3] {
        [("high", self.high), ("medium", self.medium), ("low", self.low)]
    }
}

/// The chart and its table. `days` are in their order, one after the other.
pub(super) fn by_day(days: &[Day]) -> Markup {
    let total: u64 = days.iter().map(Day::total).sum();
    let words = format!("Findings of the last {} days: {total}", days.len());
    let rows: Vec<Vec<Markup>> = days
        .iter()
        .rev()
        .map(|day| {
            let number = |count: u64| html! { (count) };
            vec![html! { (day.date) }, number(day.high), number(day.medium), number(day.low)]
        })
        .collect();
    html! {
        figure {
            (bars(days, &words))
            figcaption {
                @for severity in ["high", "medium", "low"] {
                    span.key { svg width="12" height="12" aria-hidden="true" { rect class=(severity) width="12" height="12" {} } " " (severity) }
                }
            }
            details {
                summary { "The same as numbers" }
                (table(&words, &["Day (UTC)", "High", "Medium", "Low"], &rows))
            }
        }
    }
}

fn bars(days: &[Day], words: &str) -> Markup {
    let highest = days.iter().map(Day::total).max().unwrap_or(0).max(1);
    let room = f64::from(HEIGHT - TOP - BOTTOM);
    let slot = f64::from(WIDTH) / f64::from(u32::try_from(days.len()).unwrap_or(u32::MAX)).max(1.0);
    let base = f64::from(HEIGHT - BOTTOM);
    let scale = |count: u64| share(count, highest) * room;
    html! {
        svg.chart viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(words) {
            line x1="0" x2=(WIDTH) y1=(number(base)) y2=(number(base)) {}
            @for (at, day) in (0_u32..).zip(days) {
                @let left = f64::from(at) * slot;
                @let middle = left + slot / 2.0;
                g {
                    title { (day.date) ": " (day.high) " high, " (day.medium) " medium, " (day.low) " low" }
                    (stack(day, left + slot * 0.12, slot * 0.76, base, &scale))
                    @if day.total() > 0 {
                        text x=(number(middle)) y=(number(base - scale(day.total()) - 4.0)) { (short(day.total())) }
                    }
                }
                @if at % 7 == u32::try_from(days.len()).unwrap_or(0).saturating_sub(1) % 7 {
                    @let is_last = usize::try_from(at).is_ok_and(|at| at + 1 == days.len());
                    @let where_at = if is_last { f64::from(WIDTH) } else { middle };
                    text.day.last[is_last] x=(number(where_at)) y=(number(f64::from(HEIGHT) - 5.0)) {
                        (day.date.get(5..).unwrap_or(&day.date))
                    }
                }
            }
        }
    }
}

/// A day's parts, one above the other.
fn stack(day: &Day, left: f64, width: f64, base: f64, scale: &dyn Fn(u64) -> f64) -> Markup {
    let mut below = 0;
    let mut drawn = String::new();
    for (severity, count) in day.parts().into_iter().filter(|(_, count)| *count > 0) {
        let (bottom, top) = (scale(below), scale(below + count));
        let part = html! {
            rect class=(severity) x=(number(left)) width=(number(width)) y=(number(base - top)) height=(number(top - bottom)) {}
        };
        drawn.push_str(&part.0);
        below += count;
    }
    PreEscaped(drawn)
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

/// A count above a bar that is two digits wide.
fn short(count: u64) -> String {
    match count {
        0..1000 => count.to_string(),
        1000..1_000_000 => format!("{}k", count / 1000),
        _ => format!("{}M", count / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(date: &str, high: u64, medium: u64, low: u64) -> Day {
        Day { date: date.into(), high, medium, low }
    }

    /// The heights of the bars' parts, and where each ends below.
    fn drawn(days: &[Day]) -> Vec<(String, f64, f64)> {
        let svg = bars(days, "").0;
        let attribute = |rect: &str, name: &str| {
            let rest = rect.split_once(&format!(" {name}=\"")).expect(name).1;
            rest.split('"').next().expect("a value").to_owned()
        };
        let float = |text: String| text.parse::<f64>().expect("a number");
        svg.split("<rect")
            .skip(1)
            .map(|rect| {
                let (y, height) = (float(attribute(rect, "y")), float(attribute(rect, "height")));
                (attribute(rect, "class"), height, y + height)
            })
            .collect()
    }

    #[test]
    fn a_bar_is_as_high_as_its_number_and_its_parts_stand_on_each_other() {
        let room = f64::from(HEIGHT - TOP - BOTTOM);
        let base = f64::from(HEIGHT - BOTTOM);
        let days = [day("2026-11-23", 1, 0, 1), day("2026-11-24", 2, 1, 1)];
        let expected = [
            ("high", room / 4.0, base),
            ("low", room / 4.0, base - room / 4.0),
            ("high", room / 2.0, base),
            ("medium", room / 4.0, base - room / 2.0),
            ("low", room / 4.0, base - room * 3.0 / 4.0),
        ];
        let drawn = drawn(&days);
        assert_eq!(drawn.len(), expected.len());
        for ((class, height, below), (kind, high, at)) in drawn.iter().zip(expected) {
            assert_eq!(class, kind);
            assert!((height - high).abs() < 0.11 && (below - at).abs() < 0.11, "{class}: {height} {below}");
        }
    }

    #[test]
    fn days_without_findings_have_no_bar_and_none_at_all_is_no_division_by_nothing() {
        let days: Vec<Day> = (1..=14).map(|number| day(&format!("2026-11-{number:02}"), 0, 0, 0)).collect();
        let shown = by_day(&days).0;
        assert!(drawn(&days).is_empty() && !shown.contains("NaN") && !shown.contains("inf"), "{shown}");
        assert!(shown.contains("Findings of the last 14 days: 0"));
        assert!(!by_day(&[]).0.contains("NaN"));
    }

    #[test]
    fn whoever_does_not_see_the_chart_has_its_numbers() {
        let shown = by_day(&[day("2026-11-23", 3, 0, 0), day("2026-11-24", 1, 20, 1500)]).0;
        assert!(shown.contains("role=\"img\" aria-label=\"Findings of the last 2 days: 1524\""), "{shown}");
        let newest = shown.find(">2026-11-24</td>").expect("a row");
        assert!(newest < shown.find(">2026-11-23</td>").expect("a row"), "the newest day is first");
        for cell in [">20<", ">1500<", ">1k<", "<title>2026-11-24: 1 high, 20 medium, 1500 low</title>"] {
            assert!(shown.contains(cell), "{cell}: {shown}");
        }
    }

    #[test]
    fn counts_that_no_bar_could_hold_are_drawn_all_the_same() {
        let drawn = drawn(&[day("2026-11-24", u64::MAX / 4, 1, 0), day("2026-11-25", 0, 0, 1)]);
        assert!(drawn.iter().all(|(_, height, _)| (0.0..=f64::from(HEIGHT)).contains(height)), "{drawn:?}");
    }
}
