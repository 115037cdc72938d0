//! An answer's head, read.

use std::mem::MaybeUninit;

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use httparse::{Error, Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::framing::{AnswerHead, Framing};
use super::reading::Malformed;

/// The most bytes an answer's head may have.
pub const MAX_HEAD: usize = 64 * 1024;

/// The most header lines an answer may have.
const MAX_LINES: usize = 200;

/// Lines that an answer gets on its way to the client, for which there is room from the start.
const ADDED_LINES: usize = 3;

/// Reads heads from bytes as they come.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// So much of the input has no end of a head in it.
    scanned: usize,
    /// There was more than one head written as it should be: interim answers, empty lines, lines that end in LF alone.
    is_odd: bool,
}

impl HeadReader {
    /// The head of the answer to a request of this method, once all of it is there; it is taken from the input. Interim
    /// answers (1xx but 101) are passed over.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(&mut self, input: &mut BytesMut, method: &Method) -> Result<Option<AnswerHead>, Malformed> {
        const TOO_LONG: Malformed = Malformed::new("its head is too long");
        loop {
            let Some(end) = self.end(input) else {
                return if input.len() < MAX_HEAD { Ok(None) } else { Err(TOO_LONG) };
            };
            if end > MAX_HEAD {
                return Err(TOO_LONG);
            }
            let (response, mut framing) = parse(input, end)?;
            let status = response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                framing.is_plain &= !self.is_odd;
                return framing.settle(response, method).map(Some);
            }
            // Nobody asked for one. What follows could be the body of what was meant as the answer.
            self.is_odd = true;
        }
    }

    /// Where the head ends that the input begins with: after the first empty line that follows another.
    fn end(&mut self, input: &mut BytesMut) -> Option<usize> {
        if self.scanned == 0 {
            self.is_odd |= skip_empty_lines(input);
            // Of an empty line, perhaps.
            if **input == *b"\r" {
                return None;
            }
        }
        let mut at = self.scanned;
        while let Some(line) = input.get(at..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let next = at + line + 1;
            self.is_odd |= !input.get(..next).is_some_and(|lines| lines.ends_with(b"\r\n"));
            match (input.get(next), input.get(next + 1)) {
                (Some(b'\n'), _) => {
                    self.is_odd = true;
                    return self.found(next + 1);
                }
                (Some(b'\r'), Some(b'\n')) => return self.found(next + 2),
                // The next bytes decide.
                (None, _) | (Some(b'\r'), None) => {
                    self.scanned = next - 1;
                    return None;
                }
                _ => at = next,
            }
        }
        self.scanned = input.len();
        None
    }

    const fn found(&mut self, end: usize) -> Option<usize> {
        self.scanned = 0;
        Some(end)
    }
}

/// Some servers put one before a head (RFC 9112, 2.2 has clients forgiven for it). Whether there was one.
fn skip_empty_lines(input: &mut BytesMut) -> bool {
    let mut skipped = false;
    loop {
        match **input {
            [b'\r', b'\n', ..] => input.advance(2),
            [b'\n', ..] => input.advance(1),
            _ => return skipped,
        }
        skipped = true;
    }
}

/// Takes the head of so many bytes from the input.
fn parse(input: &mut BytesMut, end: usize) -> Result<(Response<()>, Framing), Malformed> {
    let head = input.split_to(end).freeze();
    interpret(&head, &ParserConfig::default()).or_else(|_| {
        let (response, mut framing) = interpret(&head, &forgiving())?;
        framing.is_plain = false;
        Ok((response, framing))
    })
}

/// What a head says, read with as much forgiveness as is asked for.
fn interpret(head: &Bytes, config: &ParserConfig) -> Result<(Response<()>, Framing), Malformed> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_LINES];
    let mut parsed = httparse::Response::new(&mut []);
    let read = config.parse_response_with_uninit_headers(&mut parsed, head, &mut lines);
    match read {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Malformed::new("its head ends twice")),
        Err(Error::TooManyHeaders) => return Err(Malformed::new("its head has too many lines")),
        Err(_) => return Err(culprit(head)),
    }
    let status =
        parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed::new("its status is none"))?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(parsed.headers.len() + ADDED_LINES);
    let mut framing = Framing::of(parsed.version == Some(1));
    for line in parsed.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes())
            .map_err(|_| Malformed::new("a header's name is longer than any is"))?;
        let value = value(head, line.value)
            .ok_or_else(|| Malformed::of(format!("the value of its header {name:?} is none")))?;
        framing.note(&name, value.as_bytes());
        if name == LOCATION
            && let Some(before) = headers.get(LOCATION)
        {
            if *before != value {
                return Err(Malformed::new("it has two Locations, and they differ"));
            }
            continue;
        }
        headers.append(name, value);
    }
    if let Some(reason) = parsed.reason.filter(|reason| status.canonical_reason() != Some(reason))
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    Ok((response, framing))
}

/// For what servers of old write and a proxy mends: folded lines, blanks before a colon (RFC 9112, 5.1 and 5.2).
fn forgiving() -> ParserConfig {
    let mut config = ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true).allow_spaces_after_header_name_in_responses(true);
    config
}

/// A header's value; that of a folded line in one, joined with a space.
fn value(head: &Bytes, value: &[u8]) -> Option<HeaderValue> {
    if let Ok(value) = HeaderValue::from_maybe_shared(head.slice_ref(value)) {
        return Some(value);
    }
    let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    HeaderValue::from_bytes(&lines.collect::<Vec<_>>().join(&b' ')).ok()
}

/// What is wrong with a head that cannot be read: the first line that alone cannot be read either. Its text stays
/// untold, it may be the rest of a cookie.
fn culprit(head: &[u8]) -> Malformed {
    for (number, line) in (1..).zip(head.split_inclusive(|byte| *byte == b'\n')) {
        let alone = [line, b"\r\n"].concat();
        let is_folded = number > 2 && line.starts_with(b" ") || line.starts_with(b"\t");
        let fits = match number {
            1 => httparse::Response::new(&mut []).parse(&alone).is_ok(),
            _ if is_folded => true,
            _ => {
                let status = b"HTTP/1.1 200 OK\r\n".as_slice();
                let mut one: [Header<'_>; 1] = [httparse::EMPTY_HEADER];
                let mut parsed = httparse::Response::new(&mut one);
                forgiving().parse_response(&mut parsed, &[status, &alone].concat()).is_ok()
            }
        };
        if fits {
            continue;
        }
        let name =
            line.split(|byte| *byte == b':').next().and_then(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
        let has_colon = line.contains(&b':');
        return Malformed::of(match name.filter(|_| has_colon && number > 1) {
            Some(name) => format!("line {number} of its head is malformed, a {name:?}"),
            None => format!("line {number} of its head is malformed"),
        });
    }
    Malformed::new("its head is malformed")
}

#[cfg(test)]
mod tests {
    use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};

    use super::super::body::BodyReader;
    use super::*;

    fn read(text: &str, method: &Method) -> Result<Option<AnswerHead>, Malformed> {
        HeadReader::default().read(&mut BytesMut::from(text), method)
    }

    #[test]
    fn an_answer_states_its_length_once_and_as_it_is_read() {
        let length = |length| Some(BodyReader::of_length(length));
        for (name, lines, body, left) in [
            ("nothing", "", Some(BodyReader::until_close()), None),
            ("one length", "Content-Length: 5\r\n", length(5), Some("5")),
            ("one with zeros before it", "Content-Length: 005\r\n", length(5), Some("5")),
            ("the same twice", "Content-Length: 5\r\nContent-Length: 5\r\n", length(5), Some("5")),
            ("two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", None, None),
            (
                "two lengths and the first again",
                "Content-Length: 5\r\nContent-Length: 6\r\nContent-Length: 6\r\n",
                None,
                None,
            ),
            ("one that is none, then one", "Content-Length: x\r\nContent-Length: 5\r\n", None, None),
            ("a list", "Content-Length: 5, 5\r\n", None, None),
            ("a sign", "Content-Length: +5\r\n", None, None),
            ("an empty length", "Content-Length:\r\n", None, None),
            ("more than 64 bits", "Content-Length: 18446744073709551616\r\n", None, None),
            ("chunked", "Transfer-Encoding: Chunked\r\n", Some(BodyReader::chunked()), None),
            ("both", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Some(BodyReader::chunked()), None),
            ("a coding we cannot undo", "Transfer-Encoding: gzip, chunked\r\n", None, None),
            ("two codings", "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", None, None),
        ] {
            let found = read(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"), &Method::GET).map(|head| head.unwrap());
            let Some(body) = body else {
                assert!(found.is_err(), "{name}");
                continue;
            };
            let found = found.unwrap();
            assert_eq!(format!("{:?}", found.body), format!("{body:?}"), "{name}");
            let lines: Vec<_> = found.response.headers().get_all(CONTENT_LENGTH).iter().collect();
            assert_eq!(lines, left.into_iter().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn an_answer_sends_browsers_to_one_place() {
        let locations = |lines: &str| {
            let head = read(&format!("HTTP/1.1 302 Found\r\n{lines}\r\n"), &Method::GET).map(|head| head.unwrap());
            head.map(|head| head.response.headers().get_all(LOCATION).iter().count()).ok()
        };
        assert_eq!(locations("Location: /a\r\n"), Some(1));
        assert_eq!(locations("Location: /a\r\nLOCATION: /a\r\n"), Some(1));
        assert_eq!(locations("Location: /a\r\nX-A: 1\r\nLocation: /b\r\n"), None);
    }

    #[test]
    fn an_answer_that_has_no_body_has_none_whatever_it_states_and_ends_its_connection() {
        for (status, method) in
            [("200 OK", Method::HEAD), ("204 No Content", Method::GET), ("304 Not Modified", Method::GET)]
        {
            for line in ["Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked", "X-A: 1"] {
                let head = read(&format!("HTTP/1.1 {status}\r\n{line}\r\n\r\n"), &method).unwrap().unwrap();
                assert!(head.body.is_over() && !head.persistent, "{status}, {line}");
            }
        }
    }

    #[test]
    fn a_connection_goes_on_only_after_an_end_that_cannot_be_argued_about() {
        const LENGTH: &str = "Content-Length: 5\r\n";
        for (head, persistent) in [
            (format!("HTTP/1.1 200 OK\r\n{LENGTH}"), true),
            (String::from("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"), true),
            (String::from("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: Chunked\r\n"), true),
            (format!("HTTP/1.1 302 Found\r\nConnection: keep-alive\r\n{LENGTH}"), true),
            (String::from("HTTP/1.1 200 OK\r\n"), false),
            (format!("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n{LENGTH}"), false),
            (format!("HTTP/1.1 200 OK\r\nConnection: Close\r\n{LENGTH}"), false),
            (format!("HTTP/1.1 200 OK\r\nConnection: x, close\r\n{LENGTH}"), false),
            (format!("HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\n{LENGTH}"), false),
            (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{LENGTH}"), false),
            (format!("HTTP/1.1 200 OK\r\n{LENGTH}{LENGTH}"), false),
            (String::from("HTTP/1.1 200 OK\r\nContent-Length: 05\r\n"), false),
            (String::from("HTTP/1.1 200 OK\r\nContent-Length: 00\r\n"), false),
            (String::from("HTTP/1.1 200 OK\r\nContent-Length : 5\r\n"), false),
            (String::from("HTTP/1.1 200 OK\r\nContent-Length:\r\n 5\r\n"), false),
            (format!("HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\n{LENGTH}"), false),
            (format!("HTTP/1.1 200 OK\n{LENGTH}"), false),
            (format!("HTTP/1.1 200 OK\r\nX-A: 1\n{LENGTH}"), false),
            (format!("\r\nHTTP/1.1 200 OK\r\n{LENGTH}"), false),
            (format!("HTTP/1.1 205 Reset Content\r\n{LENGTH}"), false),
            (format!("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n{LENGTH}"), false),
            (String::from("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n"), false),
            (format!("HTTP/1.1 101 Switching Protocols\r\n{LENGTH}"), false),
        ] {
            let found = read(&format!("{head}\r\n"), &Method::GET).unwrap().unwrap();
            assert_eq!(found.persistent, persistent, "{head}");
        }
        let bare = read(&format!("HTTP/1.1 200 OK\r\n{LENGTH}\n"), &Method::GET).unwrap().unwrap();
        assert!(!bare.persistent, "the empty line, too");
    }

    #[test]
    fn what_old_servers_write_is_mended_as_a_proxy_must() {
        for (lines, value) in [
            ("X-A : 1\r\n", "1"),
            ("X-A\t: 1\r\n", "1"),
            ("X-A: 1\r\n 2\r\n", "1 2"),
            ("X-A: 1\r\n\t 2 \r\n  3\r\n", "1 2 3"),
            ("X-A:\r\n 1\r\n", "1"),
            ("X-A: 1\n 2\n", "1 2"),
            ("X-A: 1\r\n \r\n", "1"),
        ] {
            let head = read(&format!("HTTP/1.1 200 OK\r\n{lines}X-B: b\r\n\r\n"), &Method::GET).unwrap().unwrap();
            assert_eq!(head.response.headers()["x-a"], value, "{lines:?}");
            assert_eq!(head.response.headers()["x-b"], "b", "{lines:?}");
        }
        for (name, lines) in [
            ("a length", "Content-Length: 1\r\n 2\r\n"),
            ("a coding", "Transfer-Encoding: chun\r\n ked\r\n"),
            ("codings", "Transfer-Encoding: gzip,\r\n chunked\r\n"),
        ] {
            assert!(read(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"), &Method::GET).is_err(), "{name}");
        }
        let folded = read("HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", &Method::GET).unwrap().unwrap();
        assert_eq!(folded.response.headers()[TRANSFER_ENCODING], "chunked");
    }

    #[test]
    fn the_log_is_told_which_line_is_malformed_and_no_value() {
        for (head, expected) in [
            ("HTTP/1.1 abc OK\r\n", "line 1 of its head is malformed"),
            (
                "HTTP/1.1 200 OK\r\nX-A: 1\r\nSet-Cookie: a=s3cret\0\r\n",
                "line 3 of its head is malformed, a \"set-cookie\"",
            ),
            ("HTTP/1.1 200 OK\r\nSet-Cookie: a=s3\r\ncret\r\n", "line 3 of its head is malformed"),
            ("HTTP/1.1 200 OK\r\n s3cret\r\n", "line 2 of its head is malformed"),
            ("HTTP/1.1 200 OK\r\nX A: s3cret\r\n", "line 2 of its head is malformed"),
            ("HTTP/1.1 200 OK\r\n: s3cret\r\n", "line 2 of its head is malformed"),
            ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n", "its length is ambiguous"),
        ] {
            let malformed = read(&format!("{head}\r\n"), &Method::GET).unwrap_err();
            assert_eq!(malformed.to_string(), expected);
        }
    }

    #[test]
    fn a_head_is_the_same_at_every_split() {
        let text = "\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Fine\nX-A: 1\r\nContent-Length: 2\n\r\nok";
        for split in 0..text.len() {
            let (first, second) = text.split_at(split);
            let mut reader = HeadReader::default();
            let mut input = BytesMut::from(first);
            let head = reader.read(&mut input, &Method::GET).unwrap();
            let head = head.or_else(|| {
                input.extend_from_slice(second.as_bytes());
                reader.read(&mut input, &Method::GET).unwrap()
            });
            let head = head.expect("it is all there");
            assert_eq!(head.response.headers()["x-a"], "1", "split at {split}");
            assert_eq!(head.response.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Fine");
            assert!("ok".starts_with(std::str::from_utf8(&input).unwrap()), "split at {split}: {input:?}");
        }
    }

    #[test]
    fn a_usual_reason_is_not_kept() {
        let head = read("HTTP/1.1 404 Not Found\r\n\r\n", &Method::GET).unwrap().unwrap();
        assert!(head.response.extensions().get::<ReasonPhrase>().is_none());
    }

    #[test]
    fn what_is_no_head_is_refused_and_what_is_half_of_one_waits() {
        for bad in [
            "SSH-2.0-OpenSSH_9.2\r\n\r\n",
            "HTTP/1.1 abc OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n X-A: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX\0A: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A: 1\x002\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A: 1\r2\r\n\r\n",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert!(read(bad, &Method::GET).is_err(), "{bad:?}");
        }
        for half in ["", "\r", "\r\n", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nX-A: 1\r\n\r"] {
            assert!(read(half, &Method::GET).unwrap().is_none(), "{half:?}");
        }
    }

    #[test]
    fn a_head_is_bounded_whether_it_ends_or_not() {
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD));
        assert!(read(&long, &Method::GET).is_err());
        assert!(read(&format!("{long}\r\n\r\n"), &Method::GET).is_err());
        let lines = |count| format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-Many: 1\r\n".repeat(count));
        assert!(read(&lines(MAX_LINES), &Method::GET).unwrap().is_some());
        assert!(read(&lines(MAX_LINES + 1), &Method::GET).is_err());
    }
}
