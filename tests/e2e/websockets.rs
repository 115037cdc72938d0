//! A real WebSocket server and a real client, both of Python and with compression, with the gateway in between.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::on_both_stores;
use crate::support::ports::{free_port, local};
use crate::support::process::Process;
use crate::support::python::python;
use crate::support::{Backend, Browser, Gateway, SESSION_COOKIE, echo, gateway, wait_until};

/// The server.
pub struct Server {
    url: String,
    _process: Process,
}

impl Backend for Server {
    fn url(&self) -> String {
        self.url.clone()
    }
}

/// A script of `tests/python`.
pub fn script(name: &str) -> Command {
    let mut command = Command::new(python("python"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(name));
    command
}

/// Starts the server.
pub fn server() -> Server {
    let address = local(free_port());
    let mut process = Process::spawn(script("websocket_server.py").arg(address.port().to_string()));
    process.wait_ready("the WebSocket server", || std::net::TcpStream::connect(address).is_ok());
    Server { url: format!("http://{address}"), _process: process }
}

fn client(gateway: &Gateway, browser: &Browser, path: &str) -> Process {
    let address = gateway.address();
    let cookie = format!("{SESSION_COOKIE}={}", browser.token());
    let (url, origin) = (format!("ws://{address}{path}"), format!("http://{address}"));
    Process::spawn(script("websocket_client.py").args([url, origin, cookie]))
}

/// Waits for a line that begins so.
pub fn wait_line(process: &Process, start: &str) -> String {
    wait_until(&format!("{start:?} after {:?}", process.lines()), || {
        process.lines().into_iter().find(|line| line.starts_with(start))
    })
}

on_both_stores!(a_real_client_and_a_real_server_talk_compressed_until_the_session_ends, |store| {
    let (logins, server) = (echo(), server());
    let gateway = gateway(store)
        .with_backend(&logins)
        .settings(&format!(
            "[upstreams.sockets]\nurl = \"{}\"\n[[routes]]\nmatch = [\"/chat\", \"/news\"]\nupstream = \"sockets\"",
            server.url()
        ))
        .start();
    let (mut browser, other) = (gateway.logged_in("42", "7"), gateway.logged_in("77", "9"));
    let (chat, news) = (client(&gateway, &browser, "/chat"), client(&gateway, &browser, "/news"));
    let bystander = client(&gateway, &other, "/chat");
    for process in [&chat, &news, &bystander] {
        assert!(wait_line(process, "extensions").contains("permessage-deflate"));
        wait_line(process, "ready");
    }
    assert_eq!(wait_line(&chat, "echo"), "echo 42: in three fragments");
    assert_eq!(wait_line(&bystander, "echo"), "echo 77: in three fragments");
    browser.post("/api/logout").expect(200);
    let ended = Instant::now();
    for process in [&chat, &news] {
        assert_eq!(wait_line(process, "closed"), "closed 4401 session_revoked");
    }
    assert!(ended.elapsed() < Duration::from_secs(1), "{:?}", ended.elapsed());
    assert!(!bystander.lines().iter().any(|line| line.starts_with("closed")));
});
