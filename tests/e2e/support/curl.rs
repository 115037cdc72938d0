//! curl: a client of TLS and HTTP/2 that nobody here wrote.

use std::process::Command;

use super::gateway::Gateway;
use super::http::{Headers, Response, split_once};
use super::process::Process;

/// A call being described; [`get`](Curl::get) or [`send`](Curl::send) makes it.
pub struct Curl {
    command: Command,
    host: String,
    port: u16,
}

/// A call to a gateway that speaks TLS as `localhost`, whose certificate must be the one in its `tls.crt`.
pub fn curl(gateway: &Gateway) -> Curl {
    Curl::to(gateway.address().port()).trusting(gateway, "tls.crt")
}

impl Curl {
    /// A call by TLS to `localhost` at this port.
    pub fn to(port: u16) -> Self {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--include", "--max-time", "20", "--header", "Expect:", "--globoff"]);
        Self { command, host: "localhost".into(), port }
    }

    /// Adds options of curl's own.
    pub fn with(mut self, options: &[&str]) -> Self {
        self.command.args(options);
        self
    }

    /// Adds a header line.
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(&["--header", &format!("{name}: {value}")])
    }

    /// Accepts this certificate alone; the file is in the gateway's directory.
    pub fn trusting(self, gateway: &Gateway, file: &str) -> Self {
        let file = gateway.file(file);
        self.with(&["--cacert", file.to_str().expect("a path")])
    }

    /// Asks for this host.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.into();
        self
    }

    /// `GET`, and the answer.
    #[track_caller]
    pub fn get(self, path: &str) -> Response {
        self.send(path).1
    }

    /// Makes the call: the protocol of the answer as in `HTTP/2`, and the answer.
    #[track_caller]
    pub fn send(self, path: &str) -> (String, Response) {
        self.try_send(path).unwrap_or_else(|error| panic!("curl: {error}"))
    }

    /// Makes the call, whose answer is read while it comes.
    pub fn start(self, path: &str) -> Process {
        Process::spawn(&mut self.command_for(path))
    }

    fn command_for(mut self, path: &str) -> Command {
        let (host, port) = (&self.host, self.port);
        let (address, url) = (format!("{host}:{port}:127.0.0.1"), format!("https://{host}:{port}{path}"));
        self.command.args(["--resolve", &address, &url]);
        self.command
    }

    /// Makes the call, which may fail; the error is what curl says.
    pub fn try_send(self, path: &str) -> Result<(String, Response), String> {
        let output = self.command_for(path).output().expect("curl is installed");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let (head, body) = split_once(&output.stdout, b"\r\n\r\n").expect("a head");
        let (line, lines) = split_once(head, b"\r\n").unwrap_or((head, b""));
        let line = String::from_utf8_lossy(line).into_owned();
        let mut words = line.split(' ');
        let protocol = words.next().expect("a protocol").to_owned();
        let status = words.next().and_then(|status| status.parse().ok()).expect("a status");
        let response = Response {
            status,
            headers: Headers::parse(lines),
            body: body.to_vec(),
            trailers: Headers::default(),
            interim: Vec::new(),
        };
        Ok((protocol, response))
    }
}
