//! Where a backend's answer ends: the same at every split of the bytes, and where a second, plain reader of the same
//! bytes says. Were the two to differ, the next request on the connection would get what is left of this answer.

use bytes::BytesMut;
use http::{Method, StatusCode};
use session_gateway::upstream::http1::{HeadReader, Step};

/// What was read: status, body, whether the body is over, and what is left for nobody; `None` when it is no answer.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    status: StatusCode,
    body: Vec<u8>,
    over: bool,
    persistent: bool,
    left: Vec<u8>,
}

/// `Ok(None)`: the head is not all there.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, method: &Method) -> Result<Option<Reading>, ()> {
    let (mut input, mut heads, mut found, mut body) = (BytesMut::new(), HeadReader::default(), None, Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        if found.is_none() {
            found = heads.read(&mut input, method).map_err(drop)?;
        }
        let Some(head) = &mut found else { continue };
        while let Step::Data(data) = head.body.read(&mut input).map_err(drop)? {
            assert!(!data.is_empty(), "an empty piece would look like an end");
            body.extend_from_slice(&data);
        }
    }
    Ok(found.map(|head| Reading {
        status: head.response.status(),
        body,
        over: head.body.is_over(),
        persistent: head.persistent,
        left: input.to_vec(),
    }))
}

pub fn check(data: &[u8]) {
    for method in [Method::GET, Method::HEAD] {
        let whole = read([data], &method);
        assert_eq!(read(data.chunks(1), &method), whole, "byte by byte");
        let middle = data.first().map_or(0, |byte| usize::from(*byte) % data.len());
        assert_eq!(read([&data[..middle], &data[middle..]], &method), whole, "in two pieces");
        if let Ok(Some(reading)) = whole {
            agrees_with_a_plain_reader(data, &method, &reading);
        }
    }
}

fn agrees_with_a_plain_reader(data: &[u8], method: &Method, reading: &Reading) {
    let Heads { lines, is_plain, rest } = final_head(data);
    let values = |wanted: &str| -> Vec<String> {
        let fields = lines.iter().filter_map(|line| line.split_once(':'));
        let wanted = fields.filter(|(name, _)| name.trim_end_matches([' ', '\t']).eq_ignore_ascii_case(wanted));
        wanted.map(|(_, value)| value.trim_matches([' ', '\t']).to_ascii_lowercase()).collect()
    };
    let (codings, lengths) = (values("transfer-encoding"), values("content-length"));
    let status = reading.status.as_u16();
    let closes = values("connection")
        .iter()
        .flat_map(|value| value.split(','))
        .any(|option| option.trim_matches(|c: char| c.is_ascii_whitespace()) == "close");
    let is_stated_once = codings.len() + lengths.len() == 1;
    let is_padded = lengths.iter().any(|length| length.len() > 1 && length.starts_with('0'));
    let may_differ = *method == Method::HEAD || matches!(status, 101 | 204 | 205 | 304);
    let is_certain = is_plain && is_stated_once && !is_padded && !may_differ;
    let persistent = is_certain && !closes && lines[0].starts_with("HTTP/1.1");
    assert_eq!(reading.persistent, persistent, "who may have been misread is not believed again");
    if *method == Method::HEAD || matches!(status, 101 | 204 | 304) {
        assert!(reading.over && reading.body.is_empty() && reading.left == rest);
    } else if !codings.is_empty() {
        assert_eq!(codings, ["chunked"]);
        let (body, left) = unchunked(rest);
        assert_eq!(reading.body, body);
        assert_eq!(reading.over, left.is_some());
        assert!(left.is_none_or(|left| reading.left == left));
    } else if let Some(length) = lengths.first() {
        assert!(lengths.iter().all(|other| other.parse::<u64>().ok() == length.parse().ok()));
        let length: u64 = length.parse().expect("a length");
        let body = &rest[..rest.len().min(usize::try_from(length).unwrap_or(usize::MAX))];
        assert_eq!((reading.body.as_slice(), reading.over), (body, body.len() as u64 == length));
        assert_eq!(reading.left, rest[body.len()..]);
    } else {
        assert_eq!((reading.body.as_slice(), reading.over), (rest, false));
    }
}

/// What comes before a body.
struct Heads<'a> {
    /// The lines of the first head that is no interim answer's, folded ones in one.
    lines: Vec<String>,
    /// There was nothing else, and every line is written as it should be.
    is_plain: bool,
    /// What follows.
    rest: &'a [u8],
}

fn final_head(mut data: &[u8]) -> Heads<'_> {
    let mut is_plain = true;
    loop {
        let mut lines: Vec<String> = Vec::new();
        loop {
            let end = data.iter().position(|byte| *byte == b'\n').expect("the line of a head that was accepted");
            is_plain &= data[..end].ends_with(b"\r");
            let line = data[..end].strip_suffix(b"\r").unwrap_or(&data[..end]);
            data = &data[end + 1..];
            let line: String = line.iter().map(|byte| char::from(*byte)).collect();
            match (line.is_empty(), lines.last_mut()) {
                (true, None) => is_plain = false,
                (true, Some(_)) => break,
                (false, Some(last)) if line.starts_with([' ', '\t']) => {
                    is_plain = false;
                    last.push(' ');
                    last.push_str(line.trim_matches([' ', '\t']));
                }
                _ => {
                    is_plain &=
                        lines.is_empty() || line.split(':').next().is_some_and(|name| !name.ends_with([' ', '\t']));
                    lines.push(line);
                }
            }
        }
        let code = lines[0].split(' ').nth(1).unwrap_or_default();
        if !code.starts_with('1') || code == "101" {
            return Heads { lines, is_plain, rest: data };
        }
        is_plain = false;
    }
}

/// The data of a body in chunks that is not malformed, and what follows it if it is all there.
fn unchunked(mut data: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut body = Vec::new();
    let line = |data: &mut &[u8]| {
        let end = data.windows(2).position(|pair| pair == b"\r\n")?;
        let line = data[..end].to_vec();
        *data = &data[end + 2..];
        Some(line)
    };
    loop {
        let Some(size) = line(&mut data) else { return (body, None) };
        let size = size.split(|byte| b"; \t".contains(byte)).next().unwrap_or_default();
        let size = u64::from_str_radix(std::str::from_utf8(size).expect("digits"), 16).expect("a size");
        if size == 0 {
            break;
        }
        let taken = data.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        body.extend_from_slice(&data[..taken]);
        data = data.get(taken + 2..).unwrap_or_default();
        if data.is_empty() {
            return (body, None);
        }
    }
    loop {
        match line(&mut data) {
            None => return (body, None),
            Some(trailer) if trailer.is_empty() => return (body, Some(data)),
            Some(_) => {}
        }
    }
}
