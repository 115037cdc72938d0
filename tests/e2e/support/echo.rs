//! A backend of which every byte is known: it records what it gets and answers what it is told.
//!
//! Unscripted, it mirrors each request as JSON, and its `POST /api/login` answers with what the request's JSON has
//! under `answer` (and `status`, `headers`), so that a test decides in one line what a login says.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::backend::Backend;
use super::http::{Headers, find, split_once, timed_out};
use super::ports::listen;
use super::process::lock;
use super::wait::wait_until;

const KEPT: usize = 1 << 20;

/// A request as the backend got it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// The target, query included.
    pub target: String,
    /// The header lines.
    pub headers: Headers,
    /// The head, byte for byte.
    pub raw: Vec<u8>,
    /// The body so far, its transfer coding removed; only the first MiB is kept.
    pub body: Vec<u8>,
    /// How many bytes of body came so far.
    pub received: usize,
    /// The trailer lines.
    pub trailers: Headers,
    /// Whether the whole body came.
    pub complete: bool,
}

impl Seen {
    /// The value of a header; fails when it came several times.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    fn take(&mut self, part: &[u8]) {
        self.received += part.len();
        let room = KEPT.saturating_sub(self.body.len());
        self.body.extend_from_slice(&part[..part.len().min(room)]);
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// One step of a scripted answer.
#[derive(Clone)]
pub enum Step {
    /// Send these bytes.
    Send(Vec<u8>),
    /// Send these bytes so many times.
    Repeat(Vec<u8>, usize),
    /// Read the request's body (done before the first step unless the script was set with `on_head`).
    ReadBody,
    /// Wait a while.
    Pause(Duration),
    /// Wait until the test opens the gate.
    Await(Arc<Gate>),
    /// Keep every byte that comes in the request's body, and send it back if told to, until the client ends.
    Raw { echo: bool },
    /// Never go on.
    Hang,
    /// Close the connection.
    Close,
}

/// Bytes to send.
pub fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

/// A whole answer with a length: status line's rest, header lines, body.
pub fn answer(status: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Step {
    let body = body.as_ref();
    let mut head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    Step::Send([head.as_bytes(), body].concat())
}

/// A whole JSON answer with status 200.
pub fn answer_json(body: &Value) -> Step {
    answer("200 OK", &[("Content-Type", "application/json")], body.to_string())
}

/// Something that a test opens once.
#[derive(Default)]
pub struct Gate(Mutex<bool>, Condvar);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Arc<Self> {
        Arc::default()
    }

    /// Opens it for good.
    pub fn open(&self) {
        *lock(&self.0) = true;
        self.1.notify_all();
    }

    fn pass(&self, give_up: &AtomicBool) {
        let mut open = lock(&self.0);
        while !*open && !give_up.load(Ordering::SeqCst) {
            (open, _) = self.1.wait_timeout(open, Duration::from_millis(50)).expect("no holder panics");
        }
    }
}

type Script = Arc<dyn Fn(&Seen) -> Vec<Step> + Send + Sync>;

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    scripts: Mutex<Vec<(String, bool, Script)>>,
    connections: AtomicUsize,
    stopping: AtomicBool,
}

/// The running backend.
pub struct Echo {
    address: SocketAddr,
    state: Arc<State>,
}

/// Starts an echo backend.
pub fn echo() -> Echo {
    let (listener, address) = listen();
    echo_on(listener, address)
}

/// Starts an echo backend at this address.
pub fn echo_at(address: SocketAddr) -> Echo {
    echo_on(TcpListener::bind(address).expect("the port is free"), address)
}

fn echo_on(listener: TcpListener, address: SocketAddr) -> Echo {
    let state = Arc::new(State::default());
    let shared = Arc::clone(&state);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if shared.stopping.load(Ordering::SeqCst) {
                return;
            }
            let (Ok(stream), state) = (stream, Arc::clone(&shared)) else { continue };
            state.connections.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || Connection { stream, buffer: Vec::new(), state }.serve());
        }
    });
    Echo { address, state }
}

impl Echo {
    /// Answers requests for `path` (any query) with these steps, from now on.
    pub fn on(&self, path: &str, steps: impl Into<Vec<Step>>) -> &Self {
        let steps = steps.into();
        self.on_call(path, move |_| steps.clone())
    }

    /// Answers requests for `path` with what the function says.
    pub fn on_call(&self, path: &str, script: impl Fn(&Seen) -> Vec<Step> + Send + Sync + 'static) -> &Self {
        lock(&self.state.scripts).push((path.to_owned(), false, Arc::new(script)));
        self
    }

    /// Like `on`, but starts when the head is there; the script reads the body where it wants to.
    pub fn on_head(&self, path: &str, steps: impl Into<Vec<Step>>) -> &Self {
        let steps = steps.into();
        lock(&self.state.scripts).push((path.to_owned(), true, Arc::new(move |_| steps.clone())));
        self
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }

    /// Every request so far for `path`.
    pub fn seen_at(&self, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path() == path).collect()
    }

    /// The latest request; fails when there was none.
    #[track_caller]
    pub fn last(&self) -> Seen {
        self.seen().pop().expect("the backend was asked")
    }

    /// Waits for a request for `path`.
    pub fn wait_for(&self, path: &str) -> Seen {
        wait_until(&format!("a request for {path}"), || self.seen_at(path).pop())
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Backend for Echo {
    fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.state.stopping.store(true, Ordering::SeqCst);
        let _wakes_the_listener = TcpStream::connect(self.address);
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    state: Arc<State>,
}

impl Connection {
    fn serve(mut self) {
        let _best_effort = self.stream.set_read_timeout(Some(Duration::from_millis(100)));
        while let Some(head) = self.until(b"\r\n\r\n") {
            let (line, lines) = split_once(&head, b"\r\n").expect("a head has an end");
            let line = String::from_utf8_lossy(line).into_owned();
            let mut words = line.split(' ').map(str::to_owned);
            let seen = Seen {
                method: words.next().unwrap_or_default(),
                target: words.next().unwrap_or_default(),
                headers: Headers::parse(lines),
                raw: head.clone(),
                ..Seen::default()
            };
            let close = seen.headers.all("connection").iter().any(|value| value.eq_ignore_ascii_case("close"));
            let at = {
                let mut all = lock(&self.state.seen);
                all.push(seen);
                all.len() - 1
            };
            if self.answer(at).is_none() || close {
                break;
            }
        }
        let _gone_already = self.stream.shutdown(Shutdown::Both);
    }

    fn answer(&mut self, at: usize) -> Option<()> {
        let seen = self.seen(at);
        let script = lock(&self.state.scripts).iter().rev().find(|(path, ..)| path == seen.path()).cloned();
        let steps = match script {
            Some((_, true, script)) => script(&seen),
            Some((_, false, script)) => {
                self.read_body(at)?;
                script(&self.seen(at))
            }
            None => {
                self.read_body(at)?;
                unscripted(&self.seen(at))
            }
        };
        steps.into_iter().try_for_each(|step| self.run(step, at))
    }

    fn run(&mut self, step: Step, at: usize) -> Option<()> {
        match step {
            Step::Send(bytes) => self.stream.write_all(&bytes).ok()?,
            Step::Repeat(bytes, times) => (0..times).try_for_each(|_| self.stream.write_all(&bytes).ok())?,
            Step::ReadBody => self.read_body(at)?,
            Step::Pause(time) => std::thread::sleep(time),
            Step::Await(gate) => gate.pass(&self.state.stopping),
            Step::Raw { echo } => self.raw(at, echo)?,
            Step::Hang => {
                while !self.state.stopping.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
            Step::Close => return None,
        }
        Some(())
    }

    fn raw(&mut self, at: usize, echo: bool) -> Option<()> {
        loop {
            let bytes = std::mem::take(&mut self.buffer);
            self.note(at, |seen| seen.take(&bytes));
            if echo {
                self.stream.write_all(&bytes).ok()?;
            }
            if self.fill().is_none() {
                self.note(at, |seen| seen.complete = true);
                return Some(());
            }
        }
    }

    fn seen(&self, at: usize) -> Seen {
        lock(&self.state.seen)[at].clone()
    }

    fn note(&self, at: usize, edit: impl FnOnce(&mut Seen)) {
        edit(&mut lock(&self.state.seen)[at]);
    }

    fn read_body(&mut self, at: usize) -> Option<()> {
        let seen = self.seen(at);
        if seen.headers.has("transfer-encoding") {
            self.read_chunks(at)?;
        } else {
            let mut left = seen.headers.all("content-length").first().map_or(0, |text| text.parse().unwrap_or(0));
            while left > 0 {
                if self.buffer.is_empty() {
                    self.fill()?;
                }
                let part: Vec<u8> = self.buffer.drain(..left.min(self.buffer.len())).collect();
                left -= part.len();
                self.note(at, |seen| seen.take(&part));
            }
        }
        self.note(at, |seen| seen.complete = true);
        Some(())
    }

    fn read_chunks(&mut self, at: usize) -> Option<()> {
        loop {
            let line = self.until(b"\r\n")?;
            let size = std::str::from_utf8(&line).ok()?.trim_end();
            let size = usize::from_str_radix(size, 16).ok()?;
            if size == 0 {
                break;
            }
            while self.buffer.len() < size + 2 {
                self.fill()?;
            }
            let mut chunk: Vec<u8> = self.buffer.drain(..size + 2).collect();
            chunk.truncate(size);
            self.note(at, |seen| seen.take(&chunk));
        }
        loop {
            let line = self.until(b"\r\n")?;
            if line == b"\r\n" {
                return Some(());
            }
            self.note(at, |seen| seen.trailers.0.extend(Headers::parse(&line).0));
        }
    }

    fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = find(&self.buffer, end) {
                return Some(self.buffer.drain(..at + end.len()).collect());
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Option<()> {
        let mut bytes = [0_u8; 65_536];
        loop {
            match self.stream.read(&mut bytes) {
                Ok(0) => return None,
                Ok(count) => {
                    self.buffer.extend_from_slice(&bytes[..count]);
                    return Some(());
                }
                Err(error) if timed_out(&error) && !self.state.stopping.load(Ordering::SeqCst) => {}
                Err(_) => return None,
            }
        }
    }
}

fn unscripted(seen: &Seen) -> Vec<Step> {
    if seen.method == "POST" && seen.path().trim_end_matches('/') == "/api/login" {
        let wish: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let status = wish.get("status").and_then(Value::as_u64).unwrap_or(200);
        let lines = wish.get("headers").and_then(Value::as_array).cloned().unwrap_or_default();
        let lines: Vec<_> = lines.iter().filter_map(|line| Some((line[0].as_str()?, line[1].as_str()?))).collect();
        let headers = [&[("Content-Type", "application/json")], lines.as_slice()].concat();
        let body = wish.get("answer").cloned().unwrap_or_else(|| json!({"success": true}));
        return vec![answer(&format!("{status} As-Wished"), &headers, body.to_string())];
    }
    let mirror = json!({
        "method": seen.method,
        "target": seen.target,
        "headers": seen.headers.0,
        "body": String::from_utf8_lossy(&seen.body),
        "body_bytes": seen.received,
    });
    let step = answer_json(&mirror);
    match (seen.method.as_str(), step) {
        ("HEAD", Step::Send(bytes)) => vec![send(split_once(&bytes, b"\r\n\r\n").expect("a head").0), send("\r\n\r\n")],
        (_, step) => vec![step],
    }
}
