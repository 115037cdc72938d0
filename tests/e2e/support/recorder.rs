//! A backend that keeps every byte it gets and reads it as strictly as RFC 9112 lets one: what is not exactly one
//! well-formed request after another, framed in one way only, is a finding and gets no answer.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::backend::Backend;
use super::http::{find, timed_out};
use super::ports::listen;
use super::process::lock;

/// A request as it stood on the wire.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// The request line's first two words.
    pub line: String,
    /// The body, its transfer coding removed.
    pub body: Vec<u8>,
    /// The head, byte for byte.
    pub head: String,
}

#[derive(Default)]
struct State {
    requests: Mutex<Vec<Recorded>>,
    findings: Mutex<Vec<String>>,
    stopping: AtomicBool,
}

/// The running backend.
pub struct Recorder {
    address: SocketAddr,
    state: Arc<State>,
}

/// Starts one. It answers each request with its request line, and keeps the connection.
pub fn recorder() -> Recorder {
    let (listener, address) = listen();
    let state = Arc::new(State::default());
    let shared = Arc::clone(&state);
    std::thread::spawn(move || {
        for (connection, stream) in listener.incoming().enumerate() {
            if shared.stopping.load(Ordering::SeqCst) {
                return;
            }
            let (Ok(stream), state) = (stream, Arc::clone(&shared)) else { continue };
            std::thread::spawn(move || serve(stream, connection, &state));
        }
    });
    Recorder { address, state }
}

impl Recorder {
    /// The requests since the last call.
    pub fn take(&self) -> Vec<Recorded> {
        std::mem::take(&mut *lock(&self.state.requests))
    }

    /// What was not a well-formed request, since the last call.
    pub fn take_findings(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.state.findings))
    }
}

impl Backend for Recorder {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        let _wakes_the_listener = TcpStream::connect(self.address);
    }
}

fn serve(mut stream: TcpStream, connection: usize, state: &State) {
    stream.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out can be set");
    let (mut bytes, mut part) = (Vec::new(), [0_u8; 65_536]);
    loop {
        match parse(&bytes) {
            Ok(Some((request, length))) => {
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.line.len());
                let body = if request.line.starts_with("HEAD ") { "" } else { &request.line };
                let answer = format!("{answer}{body}");
                lock(&state.requests).push(Recorded { connection, ..request });
                bytes.drain(..length);
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Err(why) => {
                lock(&state.findings).push(format!("{why}: {:?}", String::from_utf8_lossy(&bytes)));
                return;
            }
            Ok(None) => match stream.read(&mut part) {
                Ok(0) => {
                    if !bytes.is_empty() {
                        let cut = format!("half a request: {:?}", String::from_utf8_lossy(&bytes));
                        lock(&state.findings).push(cut);
                    }
                    return;
                }
                Ok(count) => bytes.extend_from_slice(&part[..count]),
                Err(error) if timed_out(&error) && !state.stopping.load(Ordering::SeqCst) => {}
                Err(_) => return,
            },
        }
    }
}

/// The first request in there and how long it is; `None` while more must come.
fn parse(bytes: &[u8]) -> Result<Option<(Recorded, usize)>, &'static str> {
    let Some(end) = find(bytes, b"\r\n\r\n") else {
        return if bytes.iter().all(|byte| is_text(*byte) || matches!(byte, b'\r' | b'\n')) {
            Ok(None)
        } else {
            Err("a control character")
        };
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| "not ASCII")?;
    let mut lines = head.split("\r\n");
    let line = request_line(lines.next().unwrap_or_default())?;
    let (mut hosts, mut length, mut chunked) = (0, None, false);
    for field in lines {
        let (name, value) = header(field)?;
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts += 1,
            "content-length" if length.is_some() => return Err("two Content-Length"),
            "content-length" => length = Some(decimal(value)?),
            "transfer-encoding" if chunked || value != "chunked" => return Err("an odd Transfer-Encoding"),
            "transfer-encoding" => chunked = true,
            _ => {}
        }
    }
    if hosts != 1 {
        return Err("not one Host");
    }
    let start = end + 4;
    let body = match (length, chunked) {
        (Some(_), true) => return Err("two framings"),
        (_, true) => chunks(bytes, start)?,
        (length, false) => {
            let stop = start + length.unwrap_or(0);
            bytes.get(start..stop).map(|body| (body.to_vec(), stop))
        }
    };
    let found = |(body, stop)| (Recorded { connection: 0, line, body, head: head.to_owned() }, stop);
    Ok(body.map(found))
}

fn request_line(line: &str) -> Result<String, &'static str> {
    let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err("a bad request line");
    };
    let plain = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let origin_form = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if plain && origin_form { Ok(format!("{method} {target}")) } else { Err("a bad request line") }
}

fn header(line: &str) -> Result<(&str, &str), &'static str> {
    let (name, value) = line.split_once(':').ok_or("a line without colon")?;
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    // The gateway lets no other name through, though RFC 9110 has more.
    if !plain {
        return Err("an odd header name");
    }
    if !value.bytes().all(is_text) {
        return Err("a control character in a value");
    }
    Ok((name, value.trim_matches([' ', '\t'])))
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || (b' '..=b'~').contains(&byte) || byte >= 0x80
}

fn decimal(text: &str) -> Result<usize, &'static str> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().map_err(|_| "a huge length") } else { Err("a bad length") }
}

/// A chunked body without extensions and trailers, and where it ends; `None` while more must come.
fn chunks(bytes: &[u8], mut at: usize) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let mut body = Vec::new();
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(end) = find(rest, b"\r\n") else { return Ok(None) };
        let digits = rest.get(..end).unwrap_or_default();
        if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("a bad chunk size");
        }
        let size = usize::from_str_radix(&String::from_utf8_lossy(digits), 16).map_err(|_| "a bad chunk size")?;
        let (start, stop) = (at + end + 2, at + end + 2 + size);
        let Some(after) = bytes.get(stop..stop + 2) else { return Ok(None) };
        if after != b"\r\n" {
            return Err(if size == 0 { "trailers" } else { "a chunk without its end" });
        }
        body.extend_from_slice(&bytes[start..stop]);
        at = stop + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}
