//! A raw HTTP/1.1 client: exact bytes out, the whole answer in, nothing repaired on the way.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Header lines in their order, duplicates kept.
#[derive(Clone, Debug, Default)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of `name`; fails when there are several lines of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} came {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// The values of every line named `name`.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether there is a line named `name`.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// Parses header lines. Values are read as Latin-1, so every byte is kept.
    pub fn parse(lines: &[u8]) -> Self {
        let text: String = lines.iter().map(|byte| char::from(*byte)).collect();
        let line = |line: &str| match line.split_once(':') {
            Some((name, value)) => (name.to_owned(), value.trim_matches([' ', '\t']).to_owned()),
            None => (line.to_owned(), String::new()),
        };
        Self(text.split("\r\n").filter(|text| !text.is_empty()).map(line).collect())
    }
}

/// One whole answer.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines.
    pub headers: Headers,
    /// The body, its transfer coding removed.
    pub body: Vec<u8>,
    /// The trailer lines of a chunked body.
    pub trailers: Headers,
    /// The 1xx answers that came before, with their headers.
    pub interim: Vec<(u16, Headers)>,
}

impl Response {
    /// The value of a header; fails when it came several times.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {}: {}", self.status, self.text()))
    }

    /// The value at a JSON pointer, as text: numbers in decimals, absent and null as the empty text.
    pub fn at(&self, pointer: &str) -> String {
        match self.json().pointer(pointer) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        }
    }

    /// The `Set-Cookie` line for `name`, if there is one; fails when there are two.
    pub fn set_cookie(&self, name: &str) -> Option<SetCookie> {
        let mut found = self.headers.all("set-cookie").into_iter().map(SetCookie::parse).filter(|one| one.name == name);
        let first = found.next();
        assert!(found.next().is_none(), "two Set-Cookie lines for {name}: {:?}", self.headers);
        first
    }

    /// Fails, with the whole answer shown, unless the status is `status`.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, self.text());
        self
    }

    /// Fails unless this is the gateway's own refusal with that status and code, in the shape of docs/behaviour.md, "Errors".
    #[track_caller]
    pub fn expect_refusal(self, status: u16, code: &str) -> Self {
        assert_eq!(self.status, status, "expected {code}: {:?}\n{}", self.headers, self.text());
        assert!(self.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{self:?}");
        assert_eq!(self.at("/error_code"), code, "{}", self.text());
        assert_eq!(self.at("/error"), code, "{}", self.text());
        assert_eq!(self.json().pointer("/success"), Some(&Value::Bool(false)), "{}", self.text());
        assert!(!self.at("/message").is_empty() && !self.at("/request_id").is_empty(), "{}", self.text());
        self
    }
}

/// A parsed `Set-Cookie` line.
#[derive(Clone, Debug)]
pub struct SetCookie {
    /// The cookie's name.
    pub name: String,
    /// Its value, as it stands.
    pub value: String,
    /// The attributes, names in lower case, in order.
    pub attributes: Vec<(String, String)>,
}

impl SetCookie {
    /// Parses the value of one line.
    pub fn parse(line: &str) -> Self {
        let mut parts = line.split(';').map(str::trim);
        let pair = parts.next().unwrap_or_default();
        let split = |part: &str| match part.split_once('=') {
            Some((name, value)) => (name.trim().to_owned(), value.trim().to_owned()),
            None => (part.to_owned(), String::new()),
        };
        let (name, value) = split(pair);
        let attributes = parts.map(split).map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        Self { name, value, attributes }
    }

    /// An attribute's value; empty for a bare one.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the line tells the browser to forget the cookie.
    pub fn expires_it(&self) -> bool {
        self.attribute("max-age").is_some_and(|age| age.parse::<i64>().is_ok_and(|age| age <= 0))
            || self.attribute("expires").is_some_and(|date| date.contains("1970"))
    }
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects; reads give up after ten seconds.
    pub fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects, or says why not.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Reads give up after `limit` from now on.
    pub fn patience(&mut self, limit: Duration) -> &mut Self {
        self.stream.set_read_timeout(Some(limit)).expect("a time-out can be set");
        self
    }

    /// Sends exactly these bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.try_send(bytes).expect("the peer takes the bytes");
        self
    }

    /// Sends exactly these bytes, or says why not.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Ends the sending half.
    pub fn finish(&mut self) -> &mut Self {
        self.stream.shutdown(std::net::Shutdown::Write).expect("the connection is there");
        self
    }

    /// Everything up to the end of the connection; an error other than a reset, which is an end too, fails.
    pub fn rest(&mut self) -> Vec<u8> {
        loop {
            match self.fill() {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => panic!("no end of the connection: {error}; so far {:?}", self.buffer),
            }
        }
        std::mem::take(&mut self.buffer)
    }

    /// The next answer, to a request that was not HEAD.
    pub fn receive(&mut self) -> Response {
        self.try_receive("GET").expect("a whole answer")
    }

    /// The next answer, to a request with this method.
    pub fn receive_for(&mut self, method: &str) -> Response {
        self.try_receive(method).expect("a whole answer")
    }

    /// The next answer, or what is wrong with it.
    pub fn try_receive(&mut self, method: &str) -> io::Result<Response> {
        let mut response = self.try_receive_head()?;
        self.receive_body(method, &mut response)?;
        Ok(response)
    }

    /// The next final answer without its body; what came before it is in `interim`.
    pub fn try_receive_head(&mut self) -> io::Result<Response> {
        let mut interim = Vec::new();
        loop {
            let (status, headers) = self.head()?;
            if !(100..200).contains(&status) || status == 101 {
                return Ok(Response { status, headers, body: Vec::new(), trailers: Headers::default(), interim });
            }
            interim.push((status, headers));
        }
    }

    /// The next head, an interim one too.
    pub fn head(&mut self) -> io::Result<(u16, Headers)> {
        let head = self.until(b"\r\n\r\n")?;
        let (line, lines) = split_once(&head, b"\r\n").ok_or_else(|| broken("no status line", &head))?;
        let status = std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        let status = status.and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
        Ok((status.ok_or_else(|| broken("a bad status line", line))?, Headers::parse(lines)))
    }

    /// Reads the body that `response`'s head promises.
    pub fn receive_body(&mut self, method: &str, response: &mut Response) -> io::Result<()> {
        if method == "HEAD" || matches!(response.status, 101 | 204 | 304) {
            return Ok(());
        }
        if response.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            (response.body, response.trailers) = self.chunks()?;
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().map_err(|_| broken("a bad Content-Length", length.as_bytes()))?;
            response.body = self.exactly(length)?;
        } else {
            while self.fill()? > 0 {}
            response.body = std::mem::take(&mut self.buffer);
        }
        Ok(())
    }

    fn chunks(&mut self) -> io::Result<(Vec<u8>, Headers)> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk()? {
            body.extend(chunk);
        }
        let mut trailers = Vec::new();
        loop {
            let line = self.until(b"\r\n")?;
            if line == b"\r\n" {
                return Ok((body, Headers::parse(&trailers)));
            }
            trailers.extend(line);
        }
    }

    /// The next chunk; `None` for the last.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.until(b"\r\n")?;
        let size = std::str::from_utf8(&line).ok().and_then(|line| line.trim_end().split(';').next());
        let size = size.and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.ok_or_else(|| broken("a bad chunk size", &line))?;
        if size == 0 {
            return Ok(None);
        }
        let mut chunk = self.exactly(size + 2)?;
        chunk.truncate(size);
        Ok(Some(chunk))
    }

    /// Bytes up to and with `end`.
    pub fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, end) {
                return Ok(self.buffer.drain(..at + end.len()).collect());
            }
            if self.fill()? == 0 {
                return Err(broken("the end of the connection after", &self.buffer));
            }
        }
    }

    /// Exactly `count` bytes.
    pub fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if self.fill()? == 0 {
                return Err(broken("a body cut short", &[]));
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    /// Whether the peer closes the connection without sending more.
    pub fn is_closed(&mut self) -> bool {
        self.buffer.is_empty() && self.fill().map_or_else(|error| !timed_out(&error), |count| count == 0)
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut bytes = [0_u8; 65_536];
        let count = self.stream.read(&mut bytes)?;
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }
}

/// Sends bytes on a new connection and reads one answer.
pub fn exchange(address: SocketAddr, bytes: impl AsRef<[u8]>) -> Response {
    let mut wire = Wire::connect(address);
    let method = String::from_utf8_lossy(bytes.as_ref()).split(' ').next().unwrap_or_default().to_owned();
    wire.send(bytes).receive_for(&method)
}

/// Whether an error is a read that gave up.
pub fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// Where `needle` starts.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// The parts before and after the first `separator`.
pub fn split_once<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    find(bytes, separator).map(|at| (&bytes[..at], &bytes[at + separator.len()..]))
}

fn broken(what: &str, bytes: &[u8]) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {:?}", String::from_utf8_lossy(bytes)))
}
