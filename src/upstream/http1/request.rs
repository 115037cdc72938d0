//! A request's head, written.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Request};

use super::own::{OwnLines, write_line};

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
/// of the headers are left out. So are those whose place an own line takes: those come first, each once.
pub(in super::super) fn write_head<B>(
    out: &mut Vec<u8>,
    request: &Request<B>,
    own: &OwnLines,
    framing: BodyFraming,
    persistence: Persistence,
) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    for piece in [request.method().as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(piece.as_bytes());
    }
    out.extend_from_slice(own.text());
    for (name, value) in request.headers() {
        if *name == CONNECTION || *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || own.replaces(name) {
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

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http::header::HOST;

    use super::*;

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
            write_head(&mut out, &request, &OwnLines::default(), framing, connection);
            let expected = format!("POST /a?b HTTP/1.1\r\nhost: app\r\n{lines}\r\n");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn an_own_line_takes_the_place_of_all_of_its_name_once_and_comes_first() {
        static X_OWN: HeaderName = HeaderName::from_static("x-own");
        let mut request = Request::get("/").header("host", "client's").body(()).unwrap();
        for (name, value) in [("x-own", "client's"), ("x-own", "another"), ("x-ow", "a"), ("x-owl", "b")] {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let (host, ours) = (HeaderValue::from_static("app"), HeaderValue::from_static("ours"));
        let own = OwnLines::of(&[(&HOST, &host), (&X_OWN, &ours), (&X_OWN, &host)]);
        let mut out = Vec::new();
        write_head(&mut out, &request, &own, BodyFraming::None, Persistence::Persistent);
        let expected = "GET / HTTP/1.1\r\nhost: app\r\nx-own: ours\r\nx-ow: a\r\nx-owl: b\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
