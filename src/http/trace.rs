//! The trace that a request belongs to, as the proxy or the client in front says (W3C Trace Context, `traceparent`).

use ::http::header::HeaderMap;

use super::{KnownName, NotedHeaders};

static TRACEPARENT: KnownName = KnownName::new("traceparent");

/// What a request says of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace: 32 hexadecimal digits.
    trace: [u8; 32],
    /// The span that the request was made in: 16 of them.
    parent: [u8; 16],
    is_recorded: bool,
}

impl TraceParent {
    /// Of a request; `None` where it names no trace, or several, or what could be none.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(TRACEPARENT.name()).iter();
        let (Some(line), None) = (lines.next(), lines.next()) else { return None };
        let (version, rest) = line.as_bytes().split_first_chunk::<3>()?;
        let (trace, rest) = rest.split_first_chunk::<32>()?;
        let (parent, rest) = rest.split_first_chunk::<18>()?;
        let (flags, rest) = rest.split_first_chunk::<2>()?;
        let [b'-', parent @ .., b'-'] = parent else { return None };
        let valid = matches!(version, [v, w, b'-'] if hex(&[*v, *w]) && [*v, *w] != *b"ff")
            && [&trace[..], parent].iter().all(|id| hex(id) && id.iter().any(|byte| *byte != b'0'))
            && hex(flags)
            // A later version may have more behind it.
            && matches!((rest.first(), version), (None, _) | (Some(b'-'), [_, b'1'..=b'f', _] | [b'1'..=b'f', _, _]));
        valid.then(|| Self { trace: *trace, parent: *parent, is_recorded: digit(flags[1]) & 1 == 1 })
    }

    /// The same; most requests have none, and are not looked through.
    #[must_use]
    pub fn noted_in(headers: &NotedHeaders) -> Option<Self> {
        if headers.has(&TRACEPARENT) { Self::of(headers) } else { None }
    }

    /// The trace's digits.
    #[must_use]
    pub fn trace(&self) -> &str {
        std::str::from_utf8(&self.trace).unwrap_or_default()
    }

    /// The trace's bytes.
    #[must_use]
    pub fn trace_bytes(&self) -> [u8; 16] {
        bytes(&self.trace)
    }

    /// The bytes of the span that the request was made in.
    #[must_use]
    pub fn parent_bytes(&self) -> [u8; 8] {
        bytes(&self.parent)
    }

    /// Whether whoever sent it records the trace (the `sampled` flag).
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        self.is_recorded
    }
}

fn hex(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// What a hexadecimal digit stands for.
const fn digit(digit: u8) -> u8 {
    if digit.is_ascii_digit() { digit - b'0' } else { digit.wrapping_sub(b'a').wrapping_add(10) & 15 }
}

/// The bytes of twice as many digits.
fn bytes<const N: usize>(digits: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().fold(0, |byte, &each| byte << 4 | digit(each));
    }
    bytes
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
            (&["00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"], false),
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
            assert_eq!(TraceParent::of(&headers).as_ref().map(TraceParent::trace), known.then_some(ID), "{lines:?}");
        }
    }
    #[test]
    fn ids_and_the_flag_are_what_the_digits_say() {
        let parent = |flags: &str| {
            let line = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            let value = HeaderValue::try_from(line).expect("a value");
            TraceParent::of(&HeaderMap::from_iter([("traceparent".parse().expect("a name"), value)])).expect("one")
        };
        assert_eq!(parent("01").trace_bytes(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
        assert_eq!(parent("01").parent_bytes(), 0x00f0_67aa_0ba9_02b7_u64.to_be_bytes());
        for (flags, recorded) in [("00", false), ("01", true), ("02", false), ("03", true), ("fb", true), ("f0", false)]
        {
            assert_eq!(parent(flags).is_recorded(), recorded, "{flags}");
        }
    }
}
