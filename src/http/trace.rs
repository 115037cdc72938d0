//! The trace that a request belongs to, as the proxy or the client in front says (W3C Trace Context, `traceparent`).

use ::http::header::HeaderMap;

/// The identifier of a trace: 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 32]);

impl TraceId {
    /// The trace of a request; `None` where it names none, or several, or what could be none.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all("traceparent").iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let (version, rest) = line.as_bytes().split_first_chunk::<3>()?;
        let (id, rest) = rest.split_first_chunk::<32>()?;
        let (parent, flags) = rest.split_first_chunk::<18>()?;
        let hex = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let [b'-', parent @ .., b'-'] = parent else { return None };
        let valid = matches!(version, [v, w, b'-'] if hex(&[*v, *w]) && [*v, *w] != *b"ff")
            && hex(id)
            && id.iter().any(|byte| *byte != b'0')
            && hex(parent)
            // A later version may have more behind it.
            && flags.get(..2).is_some_and(hex)
            && matches!(flags.get(2), None | Some(b'-'))
            && (flags.len() == 2 || version != b"00-");
        valid.then_some(Self(*id))
    }

    /// Its digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_well_formed_parent_names_a_trace() {
        const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (lines, known) in [
            (&["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"][..], true),
            (&["cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future-holds"], true),
            (&["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more"], false),
            (&["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], false),
            (&["00-00000000000000000000000000000000-00f067aa0ba902b7-01"], false),
            (&["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"], false),
            (&["00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01"], false),
            (&["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"], false),
            (&["00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01"], false),
            (&["<script>"], false),
            (&[""], false),
            (&[], false),
            (&["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"; 2], false),
        ] {
            let headers: HeaderMap = lines
                .iter()
                .map(|line| ("traceparent".parse().expect("a name"), HeaderValue::from_static(line)))
                .collect();
            assert_eq!(TraceId::of(&headers).as_ref().map(TraceId::as_str), known.then_some(ID), "{lines:?}");
        }
    }
}
