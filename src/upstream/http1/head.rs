//! The heads: a request's written, an answer's read.

use std::mem::MaybeUninit;

use bytes::{Buf as _, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use httparse::{ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::body::AnswerBody;

/// The most bytes an answer's head may have.
pub const MAX_HEAD: usize = 64 * 1024;

/// The most header lines an answer may have.
const MAX_LINES: usize = 200;

/// Lines that an answer gets on its way to the client, for which there is room from the start.
const ADDED_LINES: usize = 3;

/// It is no answer, or one that can be read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// How a request's body is framed (RFC 9112, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum BodyFraming {
    /// There is none, and nothing says so.
    None,
    /// So many bytes.
    Length(u64),
    /// In chunks.
    Chunked,
}

/// What a request says of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Persistence {
    /// Nothing: it may carry another request.
    Persistent,
    /// The answer is its last.
    Close,
    /// It is to leave HTTP, for the protocol in `Upgrade`.
    Upgrade,
}

/// Appends a request's head, in origin-form. The lines that frame the message are written from what is said here; those
/// of the headers are left out.
pub(in super::super) fn write_head<B>(
    out: &mut Vec<u8>,
    request: &Request<B>,
    framing: BodyFraming,
    persistence: Persistence,
) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    for piece in [request.method().as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
    for (name, value) in request.headers() {
        if *name == CONNECTION || *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING {
            continue;
        }
        write_line(out, name.as_str(), value.as_bytes());
    }
    match framing {
        BodyFraming::None => {}
        BodyFraming::Length(length) => {
            write_line(out, CONTENT_LENGTH.as_str(), HeaderValue::from(length).as_bytes());
        }
        BodyFraming::Chunked => write_line(out, TRANSFER_ENCODING.as_str(), b"chunked"),
    }
    match persistence {
        Persistence::Persistent => {}
        Persistence::Close => write_line(out, CONNECTION.as_str(), b"close"),
        Persistence::Upgrade => write_line(out, CONNECTION.as_str(), b"upgrade"),
    }
    out.extend_from_slice(b"\r\n");
}

fn write_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// An answer's head.
#[derive(Debug)]
pub struct AnswerHead {
    /// Status, headers and, where it is not the usual one, the reason phrase. At most one header states the body's
    /// length: the one by which it is read, so that nobody further on reads it differently.
    pub response: Response<()>,
    /// How the body is read.
    pub body: AnswerBody,
    /// Whether the connection may carry another request after this answer.
    pub persistent: bool,
}

/// Reads heads from bytes as they come.
#[derive(Debug, Default)]
pub struct HeadReader {
    /// So much of the input has no end of a head in it.
    scanned: usize,
}

impl HeadReader {
    /// The head of the answer to a request of this method, once all of it is there; it is taken from the input. Interim
    /// answers (1xx but 101) are passed over.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn read(&mut self, input: &mut BytesMut, method: &Method) -> Result<Option<AnswerHead>, Malformed> {
        loop {
            let Some(end) = self.end(input) else {
                return if input.len() < MAX_HEAD { Ok(None) } else { Err(Malformed("its head is too long")) };
            };
            if end > MAX_HEAD {
                return Err(Malformed("its head is too long"));
            }
            let (response, framing) = parse(input, end)?;
            let status = response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return framing.settle(response, method).map(Some);
            }
        }
    }

    /// Where the head ends that the input begins with: after the first empty line that follows another.
    fn end(&mut self, input: &mut BytesMut) -> Option<usize> {
        if self.scanned == 0 {
            skip_empty_lines(input);
            // Of an empty line, perhaps.
            if **input == *b"\r" {
                return None;
            }
        }
        let mut at = self.scanned;
        while let Some(line) = input.get(at..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let next = at + line + 1;
            match (input.get(next), input.get(next + 1)) {
                (Some(b'\n'), _) => return self.found(next + 1),
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

/// Some servers put one before a head (RFC 9112, 2.2 has clients forgiven for it).
fn skip_empty_lines(input: &mut BytesMut) {
    loop {
        match **input {
            [b'\r', b'\n', ..] => input.advance(2),
            [b'\n', ..] => input.advance(1),
            _ => return,
        }
    }
}

/// Takes the head of so many bytes from the input.
fn parse(input: &mut BytesMut, end: usize) -> Result<(Response<()>, Framing), Malformed> {
    let head = input.split_to(end).freeze();
    let mut lines = [const { MaybeUninit::uninit() }; MAX_LINES];
    let mut parsed = httparse::Response::new(&mut []);
    let read = ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, &head, &mut lines);
    match read {
        Ok(Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(Malformed("its head ends twice")),
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed("its head has too many lines")),
        Err(_) => return Err(Malformed("its head is malformed")),
    }
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(Malformed("its status is none"))?;
    let mut response = Response::new(());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(parsed.headers.len() + ADDED_LINES);
    let mut framing = Framing { is_http_1_1: parsed.version == Some(1), ..Framing::default() };
    for line in parsed.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| Malformed("a header's name is none"))?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value))
            .map_err(|_| Malformed("a header's value is none"))?;
        framing.note(&name, value.as_bytes());
        headers.append(name, value);
    }
    if let Some(reason) = parsed.reason.filter(|reason| status.canonical_reason() != Some(reason))
        && let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes())
    {
        response.extensions_mut().insert(reason);
    }
    Ok((response, framing))
}

/// What an answer's head says of its body's length and of its connection.
#[derive(Debug, Default)]
struct Framing {
    is_http_1_1: bool,
    /// The lines with a `Transfer-Encoding`.
    codings: usize,
    /// The last of them is just `chunked`.
    is_chunked: bool,
    /// The lines with a `Content-Length`.
    lengths: usize,
    /// What all of them say; `None` when one is no length or they differ.
    length: Option<u64>,
    says_close: bool,
}

impl Framing {
    /// Takes note of a header line.
    fn note(&mut self, name: &HeaderName, value: &[u8]) {
        if *name == CONTENT_LENGTH {
            let length = parse_length(value);
            self.length = length.filter(|_| self.lengths == 0 || self.length == length);
            self.lengths += 1;
        } else if *name == TRANSFER_ENCODING {
            self.is_chunked = value.eq_ignore_ascii_case(b"chunked");
            self.codings += 1;
        } else if *name == CONNECTION {
            let mut options = value.split(|byte| *byte == b',');
            self.says_close |= options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
    }

    /// Decides where the answer ends (RFC 9112, 6.3), and whether its connection can go on after it. What the headers
    /// say of the length is left in them once, and only if it is what counts.
    fn settle(self, mut response: Response<()>, method: &Method) -> Result<AnswerHead, Malformed> {
        let (status, headers) = (response.status(), response.headers_mut());
        let has_no_body = *method == Method::HEAD
            || status.is_informational()
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::NOT_MODIFIED;
        let body = if self.codings > 0 {
            if self.codings > 1 || !self.is_chunked {
                return Err(Malformed("its transfer coding is not just chunked"));
            }
            if !self.is_http_1_1 {
                return Err(Malformed("HTTP/1.0 has no transfer codings"));
            }
            headers.remove(CONTENT_LENGTH);
            AnswerBody::chunked()
        } else if self.lengths > 0 {
            let length = self.length.ok_or(Malformed("its length is ambiguous"))?;
            if self.lengths > 1 {
                headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            AnswerBody::of_length(length)
        } else {
            AnswerBody::until_close()
        };
        let body = if has_no_body { AnswerBody::of_length(0) } else { body };
        // Who states both may have been fooled into it: nothing that follows can be believed (RFC 9112, 6.1).
        let states_both = self.codings > 0 && self.lengths > 0;
        let persistent = self.is_http_1_1 && !self.says_close && !states_both;
        Ok(AnswerHead { response, body, persistent })
    }
}

/// Digits and nothing else (RFC 9110, 8.6).
fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = Some(value).filter(|value| !value.is_empty())?;
    digits.iter().try_fold(0_u64, |length, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        length.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, method: &Method) -> Result<Option<AnswerHead>, Malformed> {
        HeadReader::default().read(&mut BytesMut::from(text), method)
    }

    #[test]
    fn an_answer_states_its_length_once_and_as_it_is_read() {
        let length = |length| Some(AnswerBody::of_length(length));
        for (name, lines, body, left) in [
            ("nothing", "", Some(AnswerBody::until_close()), None),
            ("one length", "Content-Length: 5\r\n", length(5), Some("5")),
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
            ("chunked", "Transfer-Encoding: Chunked\r\n", Some(AnswerBody::chunked()), None),
            ("both", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Some(AnswerBody::chunked()), None),
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
    fn an_answer_that_has_no_body_has_none_whatever_it_states() {
        for (status, method) in
            [("200 OK", Method::HEAD), ("204 No Content", Method::GET), ("304 Not Modified", Method::GET)]
        {
            for line in ["Content-Length: 5", "Transfer-Encoding: chunked", "X-A: 1"] {
                let head = read(&format!("HTTP/1.1 {status}\r\n{line}\r\n\r\n"), &method).unwrap().unwrap();
                assert!(head.body.is_over() && head.persistent, "{status}, {line}");
            }
        }
    }

    #[test]
    fn a_connection_goes_on_only_where_nothing_speaks_against_it() {
        for (head, persistent) in [
            ("HTTP/1.1 200 OK\r\n", true),
            ("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: x, close\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: close\r\n", false),
            ("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n", true),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", false),
        ] {
            let found = read(&format!("{head}\r\n"), &Method::GET).unwrap().unwrap();
            assert_eq!(found.persistent, persistent, "{head}");
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
            "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n",
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

    #[test]
    fn the_lines_that_frame_a_request_are_written_here_alone() {
        let mut request = Request::post("http://elsewhere/a?b").header("host", "app").body(()).unwrap();
        for (name, value) in [("content-length", "7"), ("transfer-encoding", "gzip"), ("connection", "keep-alive")] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        for (framing, connection, lines) in [
            (BodyFraming::None, Persistence::Persistent, ""),
            (BodyFraming::Length(12), Persistence::Close, "content-length: 12\r\nconnection: close\r\n"),
            (BodyFraming::Chunked, Persistence::Upgrade, "transfer-encoding: chunked\r\nconnection: upgrade\r\n"),
        ] {
            let mut out = Vec::new();
            write_head(&mut out, &request, framing, connection);
            let expected = format!("POST /a?b HTTP/1.1\r\nhost: app\r\n{lines}\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
