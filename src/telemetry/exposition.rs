//! In which of two formats a scraper gets the metrics: OpenMetrics 1.0, where it asks for that, else the text format
//! 0.0.4 of Prometheus, which everything else that reads metrics knows.

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::ACCEPT;

/// A format of the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposition {
    /// Prometheus' text format 0.0.4.
    Classic,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Exposition {
    /// What a request asks for (RFC 9110, section 12.5.1). Where both are as welcome it is OpenMetrics, if it is named at
    /// all; where nothing is asked for, or neither, it is what everything reads.
    #[must_use]
    pub fn asked_for(headers: &HeaderMap) -> Self {
        let (mut open, mut plain) = (0, 0);
        for line in headers.get_all(ACCEPT) {
            for range in line.to_str().unwrap_or_default().split(',') {
                let mut parts = range.split(';').map(str::trim);
                let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
                let (mut quality, mut known) = (1000, true);
                for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                    match name.trim_end().to_ascii_lowercase().as_str() {
                        "q" => quality = thousandths(value.trim_start()),
                        "version" => known = matches!(value.trim_matches([' ', '"']), "1.0.0" | "0.0.1" | "0.0.4"),
                        _ => {}
                    }
                }
                match kind.as_str() {
                    "application/openmetrics-text" if known => open = open.max(quality),
                    "text/plain" if known => plain = plain.max(quality),
                    _ => {}
                }
            }
        }
        if open > 0 && open >= plain { Self::OpenMetrics } else { Self::Classic }
    }

    /// The content type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// A text of OpenMetrics in this format.
    #[must_use]
    pub fn of(self, openmetrics: String) -> String {
        match self {
            Self::Classic => classic(&openmetrics),
            Self::OpenMetrics => openmetrics,
        }
    }
}

/// A weight (RFC 9110, section 12.4.2) in thousandths; what is none weighs nothing.
fn thousandths(text: &str) -> u32 {
    let weight = text.parse::<f32>().unwrap_or(0.0).clamp(0.0, 1.0) * 1000.0;
    // Three decimals, as much as there can be.
    format!("{weight:.0}").parse().unwrap_or(0)
}

/// Counters are called as their samples are, there are no units, and no end is marked.
fn classic(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut help: Option<(&str, &str)> = None;
    for line in openmetrics.lines() {
        // Writing to a String cannot fail.
        let _ = if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
            Ok(())
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|typed| typed.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                "stateset" => ("", "gauge"),
                other => ("", other),
            };
            let help = help.take().filter(|(described, _)| *described == name).map_or("", |(_, help)| help);
            // Quotation marks are escaped in OpenMetrics alone.
            let help = help.replace("\\\"", "\"");
            writeln!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}")
        } else if line == "# EOF" || line.starts_with("# UNIT ") {
            Ok(())
        } else {
            writeln!(text, "{line}")
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn openmetrics_is_for_who_asks_for_it_and_text_for_everybody_else() {
        use Exposition::{Classic, OpenMetrics};
        let of_prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,\
                             text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (lines, expected) in [
            (&[][..], Classic),
            (&[""], Classic),
            (&["*/*"], Classic),
            (&["text/plain"], Classic),
            (&["text/plain; version=0.0.4"], Classic),
            (&["text/html, */*;q=0.1"], Classic),
            (&["application/json"], Classic),
            (&["application/openmetrics-text"], OpenMetrics),
            (&["Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8"], OpenMetrics),
            (&["application/openmetrics-text;version=2.0.0, text/plain"], Classic),
            (&["application/openmetrics-text;q=0"], Classic),
            (&["application/openmetrics-text;q=0.5, text/plain;q=0.9"], Classic),
            (&["text/plain;q=0.5", "application/openmetrics-text; q=0.5"], OpenMetrics),
            (&["application/openmetrics-text;q=x"], Classic),
            (&["application/*"], Classic),
            (&[of_prometheus], OpenMetrics),
        ] {
            let headers = lines.iter().map(|line| (ACCEPT, HeaderValue::from_static(line))).collect();
            assert_eq!(Exposition::asked_for(&headers), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_counter_is_called_as_its_samples_are_and_nothing_but_prometheus_words_is_left() {
        let openmetrics = "# HELP a_up Whether \\\"it\\\" runs.\n# TYPE a_up gauge\na_up 1\n# HELP a_b Bs.\n# TYPE a_b counter\n\
                           a_b_total{c=\"d\"} 3\n# HELP a_s Time.\n# TYPE a_s histogram\n# UNIT a_s seconds\n\
                           a_s_sum 0.5\na_s_count 1\na_s_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let expected = "# HELP a_up Whether \"it\" runs.\n# TYPE a_up gauge\na_up 1\n# HELP a_b_total Bs.\n\
                        # TYPE a_b_total counter\na_b_total{c=\"d\"} 3\n# HELP a_s Time.\n# TYPE a_s histogram\n\
                        a_s_sum 0.5\na_s_count 1\na_s_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(Exposition::Classic.of(openmetrics.into()), expected);
    }
}
