//! Where a request ends: the same at every split of the bytes, and where a second, plain reader of the same bytes says.

use session_gateway::http::{HeadLimits, Phase, RequestFraming};

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, count: 20 };

/// Whether each request was accepted, head and body, and how it ended.
type Reading = (Vec<bool>, Phase);

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let mut framing = RequestFraming::new(LIMITS);
    let mut verdicts = Vec::new();
    for mut piece in pieces {
        loop {
            let rest = framing.feed(piece);
            verdicts.extend(std::iter::from_fn(|| framing.take_verdict()).map(|verdict| verdict.is_ok()));
            if rest.is_empty() {
                break;
            }
            assert_eq!(framing.phase(), Phase::Held, "only a held connection takes nothing");
            framing.resume();
            piece = rest;
        }
    }
    // Whether a body broke before or after its head's verdict was taken is a matter of the split.
    if framing.broken_body() {
        assert_eq!(verdicts.pop(), Some(true), "the body of an accepted head");
        verdicts.push(false);
    }
    let phase = if framing.phase() == Phase::Held { Phase::Idle } else { framing.phase() };
    (verdicts, phase)
}

pub fn check(data: &[u8]) {
    let data = &data[..data.len().min(4096)];
    let whole = read([data]);
    assert_eq!(read(data.chunks(1)), whole, "byte by byte");
    let middle = data.first().map_or(0, |byte| usize::from(*byte) % data.len());
    assert_eq!(read([&data[..middle], &data[middle..]]), whole, "in two pieces");
    let refused = whole.0.iter().position(|accepted| !accepted);
    assert!(refused.is_none_or(|at| at + 1 == whole.0.len()), "nothing is read after a refusal");
    first_request_ends_where_a_plain_reader_says(data);
}

/// Feeds until the first request is over, and compares with the plain reader.
fn first_request_ends_where_a_plain_reader_says(data: &[u8]) {
    let mut framing = RequestFraming::new(LIMITS);
    let mut head_end = None;
    for (at, byte) in data.iter().enumerate() {
        framing.feed(std::slice::from_ref(byte));
        match framing.take_verdict() {
            Some(Ok(())) => head_end = Some(at + 1),
            Some(Err(_)) => return,
            None => {}
        }
        if framing.broken_body() {
            return;
        }
        if let Some(head_end) = head_end
            && matches!(framing.phase(), Phase::Idle | Phase::Held)
        {
            let body = plain_head(&data[..head_end]);
            assert_eq!(plain_body(body, &data[head_end..=at]), Some(at + 1 - head_end), "the body's end");
            return;
        }
    }
    if let Some(head_end) = head_end {
        let body = plain_head(&data[..head_end]);
        assert_eq!(plain_body(body, &data[head_end..]), None, "a body that has not ended");
    }
}

/// An accepted head with its target percent-encoded as browsers do it.
fn repaired(head: &[u8]) -> Vec<u8> {
    let end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
    let (line, rest) = head.split_at(end);
    let mut text: Vec<u8> = Vec::new();
    for byte in line {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'`' | b'{' | b'|' | b'}' | 0x80.. => {
                text.extend(format!("%{byte:02X}").bytes());
            }
            _ => text.push(*byte),
        }
    }
    text.extend_from_slice(rest);
    text
}

#[derive(Clone, Copy)]
enum Body {
    Length(usize),
    Chunked,
}

/// Fails unless the accepted head reads in one way only.
fn plain_head(head: &[u8]) -> Body {
    let mut head = head;
    while let Some(rest) = head.strip_prefix(b"\r\n") {
        head = rest;
    }
    // The target as a browser would have written it; nothing else of the line is another one's to read.
    let head = &repaired(head);
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut slots);
    let parsed = request.parse(head).expect("what is accepted is HTTP");
    assert_eq!(parsed, httparse::Status::Complete(head.len()), "the head's end");
    let ends = head.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(ends, head.windows(2).filter(|pair| *pair == b"\r\n").count(), "a bare LF");
    assert_eq!(ends, head.iter().filter(|byte| **byte == b'\r').count(), "a bare CR");
    assert_eq!(ends, request.headers.len() + 2, "a folded or lost line");
    let values = |name: &str| {
        // An old server reads `_` as `-`; lines of such names never leave the gateway.
        let same = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case(name);
        request.headers.iter().filter(same).map(|header| header.value).collect::<Vec<_>>()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Body::Length(0),
        (lengths, []) => {
            // However often it is said, it is one number.
            let said: Vec<&[u8]> = lengths.iter().flat_map(|line| line.split(|byte| *byte == b',')).collect();
            let number = |digits: &&[u8]| {
                let digits = digits.trim_ascii();
                assert!(!digits.is_empty() && digits.iter().all(u8::is_ascii_digit), "{}", digits.escape_ascii());
                std::str::from_utf8(digits).expect("digits").parse::<u64>().expect("a length")
            };
            let numbers: Vec<u64> = said.iter().map(number).collect();
            assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
            Body::Length(usize::try_from(numbers[0]).expect("64 bits"))
        }
        ([], [coding]) => {
            assert!(coding.eq_ignore_ascii_case(b"chunked"), "{}", coding.escape_ascii());
            assert_eq!(request.version, Some(1), "HTTP/1.0 knows no codings");
            Body::Chunked
        }
        more => panic!("a head that frames its body in two ways was accepted: {more:?}"),
    }
}

/// How long the body is; `None` while it has not ended.
fn plain_body(body: Body, bytes: &[u8]) -> Option<usize> {
    let length = match body {
        Body::Length(length) => length,
        Body::Chunked => return plain_chunks(bytes),
    };
    (bytes.len() >= length).then_some(length)
}

fn plain_chunks(bytes: &[u8]) -> Option<usize> {
    let line_at = |at: usize| {
        let rest = bytes.get(at..)?;
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        Some((&rest[..end], at + end + 2))
    };
    let mut at = 0;
    loop {
        let (line, after) = line_at(at)?;
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).expect("hexadecimal");
        let size = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("no chunk size: {digits:?}"));
        at = after;
        if size == 0 {
            break;
        }
        at = at.checked_add(size)?;
        if bytes.len() < at + 2 {
            return None;
        }
        assert_eq!(&bytes[at..at + 2], b"\r\n", "a chunk ends with its line");
        at += 2;
    }
    loop {
        let (line, after) = line_at(at)?;
        at = after;
        if line.is_empty() {
            return Some(at);
        }
    }
}
