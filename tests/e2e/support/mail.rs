//! A real mail server (aiosmtpd): what it took, and what it is told to do.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::gateway::write_certificate;
use super::http::Wire;
use super::ports::{free_port, local};
use super::process::Process;
use super::wait::wait_until;
use super::{json_lines, scratch};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Who may log in where a server asks for it.
pub const USER: &str = "alerts";
/// By this password.
pub const PASSWORD: &str = "a-password-of-the-tests";

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spoken {
    /// As it comes.
    Plain,
    /// By TLS from the first byte on, and it asks who is there.
    Tls,
    /// By TLS after STARTTLS, and it asks who is there.
    StartTls,
}

/// A mail server.
pub struct MailServer {
    address: SocketAddr,
    spoken: Spoken,
    folder: TempDir,
    process: Option<Process>,
}

impl MailServer {
    /// One that listens.
    pub fn start(spoken: Spoken) -> Self {
        let folder = scratch();
        write_certificate(folder.path(), "mail", &["localhost"]);
        let mut server = Self { address: local(free_port()), spoken, folder, process: None };
        server.up();
        server
    }

    /// It listens, again.
    pub fn up(&mut self) {
        let mut command = Command::new(Path::new(ROOT).join(".venv/bin/python"));
        command.arg(Path::new(ROOT).join("tests/python/mail_server.py"));
        command.arg(self.folder.path()).arg(self.address.port().to_string());
        let certificate = self.folder.path().join("mail");
        match self.spoken {
            Spoken::Plain => {}
            Spoken::Tls => drop(command.arg("--tls").arg(certificate)),
            Spoken::StartTls => drop(command.arg("--starttls").arg(certificate)),
        }
        if self.spoken != Spoken::Plain {
            command.args(["--user", &format!("{USER}:{PASSWORD}")]);
        }
        let mut process = Process::spawn(&mut command);
        process.wait_ready("the mail server", || Wire::try_connect(self.address).is_ok());
        self.process = Some(process);
    }

    /// It is gone.
    pub fn down(&mut self) {
        self.process = None;
    }

    /// What it does from now on; see `mail_server.py`.
    pub fn order(&self, orders: &Value) {
        let path = self.folder.path().join("orders.json");
        let next = self.folder.path().join("orders.next");
        std::fs::write(&next, orders.to_string()).expect("a file");
        std::fs::rename(next, path).expect("it takes its place");
    }

    /// `[alerts]` that mails what is high to `ops@example.com`, by this server.
    pub fn alerts(&self) -> String {
        let port = self.address.port();
        let (smtp, more) = match self.spoken {
            Spoken::Plain => (format!("smtp://127.0.0.1:{port}"), String::new()),
            Spoken::Tls => (format!("smtps://{USER}@localhost:{port}"), self.secured()),
            Spoken::StartTls => (format!("smtp://{USER}@localhost:{port}"), self.secured()),
        };
        format!(
            "[alerts]\nsmtp = \"{smtp}\"\n{more}from = \"Gateway <gateway@example.com>\"\nhigh.to = [\"ops@example.com\"]\n"
        )
    }

    /// The file of its certificate.
    pub fn certificate(&self) -> String {
        self.folder.path().join("mail.crt").display().to_string()
    }

    fn secured(&self) -> String {
        format!("smtp_password = \"{PASSWORD}\"\nca = \"{}\"\n", self.certificate())
    }

    /// What it took so far.
    pub fn mails(&self) -> Vec<Mail> {
        json_lines(&self.folder.path().join("mails.jsonl")).into_iter().map(Mail).collect()
    }

    /// Waits until it took so many.
    pub fn wait_for(&self, count: usize) -> Vec<Mail> {
        wait_until(&format!("{count} mails"), || Some(self.mails()).filter(|mails| mails.len() >= count))
    }
}

/// A mail that was taken.
#[derive(Clone, Debug)]
pub struct Mail(pub Value);

impl Mail {
    /// A member of what was written down.
    pub fn at(&self, name: &str) -> &Value {
        &self.0[name]
    }

    /// Its only recipient.
    pub fn to(&self) -> &str {
        assert_eq!(self.0["to"].as_array().map(Vec::len), Some(1));
        self.0["to"][0].as_str().expect("an address")
    }

    fn data(&self) -> &str {
        self.0["data"].as_str().expect("text")
    }

    /// A header's value, its lines put together.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.data().split("\r\n\r\n").next().expect("a head").replace("\r\n ", " ");
        let found =
            head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
        found.map(|(_, value)| value.to_owned())
    }

    /// Its subject.
    pub fn subject(&self) -> String {
        self.header("Subject").expect("a subject")
    }

    /// What tells it from others.
    pub fn id(&self) -> String {
        self.header("Message-ID").expect("an id")
    }

    /// Its parts of text and of HTML, decoded.
    pub fn parts(&self) -> (String, String) {
        let script = "import email, email.policy, json, sys\n\
                      mail = email.message_from_string(sys.stdin.read(), policy=email.policy.default)\n\
                      print(json.dumps([mail.get_body((kind,)).get_content() for kind in ('plain', 'html')]))";
        let mut command = Command::new(Path::new(ROOT).join(".venv/bin/python"));
        command.args(["-c", script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = command.spawn().expect("Python");
        let mut input = child.stdin.take().expect("its input");
        std::io::Write::write_all(&mut input, self.data().as_bytes()).expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        serde_json::from_slice(&output.stdout).expect("two parts")
    }
}

/// Orders to refuse these, and to put those off.
pub fn refusing(refuse: &[&str], later: &[&str]) -> Value {
    json!({"refuse": refuse, "later": later})
}
