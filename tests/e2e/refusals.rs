//! A refusal arrives, whatever its request still sends: each client, protocol, refusal and size beside nginx, in one run.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::front::nginx_alone;
use crate::support::http::timed_out;
use crate::support::python::python;
use crate::support::{Gateway, Store, Wire, curl, echo, gateway};

const MAX_BODY: usize = 1 << 20;
/// More than the kernel holds of what nobody reads. Node's client of HTTP/2 itself breaks at twice as much.
const LARGE: usize = 8_000_000;

/// A refusal: its status, whether a page of another site asks, and where it is to be had.
const REFUSALS: [(u16, &str, &str); 3] =
    [(401, "-", "/private"), (403, "https://evil.example", "/api/login"), (413, "-", "/public/upload")];

/// The same refusals by nginx.
const SITE: &str = "
    client_max_body_size 0;
    location = /private { return 401; }
    location = /api/login { return 403; }
    location = /public/upload { client_max_body_size 1m; proxy_pass http://127.0.0.1:9; }";

struct Client {
    name: &'static str,
    protocols: &'static [&'static str],
    /// The program that takes lines of calls; `None`: it is not here.
    program: Option<Command>,
}

fn clients(certificate: &Path) -> Vec<Client> {
    let script = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name);
    let with = |program: Option<PathBuf>, name: &str| {
        program.map(|program| {
            let mut command = Command::new(program);
            command.arg(script(name)).arg(certificate);
            command
        })
    };
    vec![
        Client { name: "curl", protocols: &["plain", "tls", "tls/h2"], program: None },
        Client { name: "requests", protocols: &["plain", "tls"], program: with(Some(python("python")), "refused.py") },
        Client {
            name: "node",
            protocols: &["plain", "tls", "tls/h2"],
            program: with(installed("node"), "refused.mjs"),
        },
        Client {
            name: "java",
            protocols: &["plain", "tls", "tls/h2"],
            program: with(installed("java").filter(|java| compiles(java)), "Refused.java"),
        },
    ]
}

fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists())
}

/// Whether it is more than what runs programs.
fn compiles(java: &Path) -> bool {
    let modules = Command::new(java).arg("--list-modules").output().expect("java runs");
    String::from_utf8_lossy(&modules.stdout).contains("jdk.compiler")
}

/// One call, several times: `NAME URL BYTES ORIGIN TIMES`.
struct Call {
    name: String,
    url: String,
    size: usize,
    origin: &'static str,
    times: usize,
    expected: u16,
}

/// How often each call was not answered as it was to be.
type Lost = BTreeMap<String, usize>;

/// All calls of a client to a server that listens for plain HTTP and for TLS.
fn calls(client: &Client, plain: SocketAddr, tls: SocketAddr) -> Vec<Call> {
    let mut calls = Vec::new();
    for protocol in client.protocols {
        for (status, origin, path) in REFUSALS {
            for size in [2, LARGE].into_iter().filter(|size| status != 413 || *size > MAX_BODY) {
                let (scheme, port) = if *protocol == "plain" { ("http", plain.port()) } else { ("https", tls.port()) };
                calls.push(Call {
                    name: format!("{}/{status}/{size}/{protocol}", client.name),
                    url: format!("{scheme}://localhost:{port}{path}"),
                    size,
                    origin,
                    times: if size > MAX_BODY { 2 } else { 3 },
                    expected: status,
                });
            }
        }
    }
    calls
}

fn lost_by_program(mut program: Command, calls: &[Call]) -> Lost {
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a client that is installed");
    let mut lines = String::new();
    for Call { name, url, size, origin, times, .. } in calls {
        writeln!(lines, "{name} {url} {size} {origin} {times}").expect("a String takes it");
    }
    child.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("the client reads");
    let output = child.wait_with_output().expect("the client ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected: BTreeMap<&str, u16> = calls.iter().map(|call| (call.name.as_str(), call.expected)).collect();
    let answered = said.lines().filter_map(|line| line.rsplit_once(' '));
    let mut lost = Lost::new();
    for (name, status) in answered.clone() {
        *lost.entry(name.to_owned()).or_default() += usize::from(expected[name].to_string() != status);
    }
    let all: usize = calls.iter().map(|call| call.times).sum();
    assert_eq!(answered.count(), all, "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    lost
}

fn lost_by_curl(calls: &[Call], certificate: &Path, directory: &Path) -> Lost {
    let mut lost = Lost::new();
    for Call { name, url, size, origin, times, expected } in calls {
        let body = directory.join(format!("{size}.body"));
        std::fs::write(&body, vec![b'x'; *size]).expect("a file");
        for _ in 0..*times {
            let mut command = Command::new("curl");
            command.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--max-time", "20"]);
            command.args(["--header", "Expect:", if name.ends_with("/h2") { "--http2" } else { "--http1.1" }]);
            command.arg("--cacert").arg(certificate).arg("--data-binary").arg(format!("@{}", body.display())).arg(url);
            if *origin != "-" {
                command.args(["--header", &format!("Origin: {origin}")]);
            }
            let output = command.output().expect("curl is installed");
            // A status that curl saw before it gave up is lost to whoever asks for its exit code.
            let arrived = output.status.success() && output.stdout == expected.to_string().as_bytes();
            *lost.entry(name.clone()).or_default() += usize::from(!arrived);
        }
    }
    lost
}

fn lost(client: Client, certificate: &Path, directory: &Path, calls: &[Call]) -> Lost {
    match client.program {
        _ if client.name == "curl" => lost_by_curl(calls, certificate, directory),
        Some(program) => lost_by_program(program, calls),
        None => {
            // CI has all of them.
            let hint = "scripts/setup browser && cargo test --test e2e refusals";
            let name = client.name;
            assert!(std::env::var_os("SESSION_GATEWAY_TEST_CHROMIUM").is_none(), "there is no {name}: {hint}");
            // Past the capture of a test's output: what was not tested must be seen.
            let line = format!("SKIPPED: there is no {name} here, so that nobody sees what it loses. To see: {hint}\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
            Lost::new()
        }
    }
}

#[test]
fn a_refusal_is_lost_to_no_client_that_nginx_loses_none_of() {
    let backend = echo();
    let of = || gateway(Store::Embedded).with_backend(&backend).set("server.max_body", "1MiB");
    let (plain, tls) = (of().start(), of().over_tls(&["localhost"]).start());
    let nginx = nginx_alone(SITE);
    let ours = (plain.address(), tls.address(), tls.file("tls.crt"));
    let theirs = (nginx.plain(), nginx.address(), nginx.certificate());
    let directory = plain.directory();
    let run = |(plain, tls, certificate): &(SocketAddr, SocketAddr, PathBuf), wanted: &dyn Fn(&Call) -> bool| {
        std::thread::scope(|scope| {
            let started: Vec<_> = clients(certificate)
                .into_iter()
                .map(|client| {
                    let calls: Vec<Call> = calls(&client, *plain, *tls).into_iter().filter(wanted).collect();
                    scope.spawn(move || lost(client, certificate, directory, &calls))
                })
                .collect();
            started.into_iter().flat_map(|client| client.join().expect("a client")).collect::<Lost>()
        })
    };
    let ours = run(&ours, &|_| true);
    assert!(ours.len() >= 10, "{ours:?}");
    // There nginx answers nothing, and each call would wait until it gives up.
    let is_lost_on = |call: &Call| call.name.starts_with("java/") && call.name.ends_with("/h2") && call.size > MAX_BODY;
    let theirs = run(&theirs, &|call| !is_lost_on(call) || ours.get(&call.name).is_some_and(|lost| *lost > 0));
    let table: String = ours.iter().fold(String::new(), |mut table, (name, lost)| {
        let nginx = theirs.get(name).map_or(String::from("not asked"), ToString::to_string);
        writeln!(table, "{name}: {lost}, nginx {nginx}").expect("a String takes it");
        table
    });
    println!("{table}");
    let no_more = |(name, lost): (&String, &usize)| *lost == 0 || theirs.get(name).is_some_and(|theirs| lost <= theirs);
    assert!(ours.iter().all(no_more), "lost by us, and by nginx:\n{table}");
}

#[test]
fn a_small_call_without_a_session_gets_its_status_over_http2_every_time() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).over_tls(&["localhost"]).start();
    for time in 0..50 {
        let answer = curl(&gateway).with(&["--http2", "--data", "{}"]).try_send("/private");
        let (protocol, response) = answer.unwrap_or_else(|error| panic!("time {time}: {error}"));
        assert_eq!((protocol.as_str(), response.status), ("HTTP/2", 401), "time {time}");
    }
}

fn refused_upload(gateway: &Gateway, more: &str) -> Wire {
    let mut wire = Wire::connect(gateway.address());
    let host = gateway.address();
    wire.send(format!("POST /private HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n{more}\r\n"));
    wire
}

#[test]
fn what_is_left_of_a_refused_upload_holds_the_clients_place_and_for_a_while_only() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).set("server.max_connections_per_address", 3).start();
    let began = Instant::now();
    let mut silent: Vec<Wire> = (0..2).map(|_| refused_upload(&gateway, "")).collect();
    for wire in &mut silent {
        wire.receive().expect_refusal(401, "session_required");
    }
    let mut goes_on = refused_upload(&gateway, "");
    goes_on.receive().expect_refusal(401, "session_required");
    let turned_away = Wire::connect(gateway.address()).send("GET / HTTP/1.1\r\n\r\n").is_closed();
    assert!(turned_away, "three of three places are taken");
    // Whoever sends is read on, to the end of what was announced, and then served.
    for _ in 0..10 {
        goes_on.send(vec![b'x'; 100_000]);
    }
    let next = format!("GET /public/x HTTP/1.1\r\nHost: {}\r\n\r\n", gateway.address());
    goes_on.send(next).receive().expect(200);
    for wire in &mut silent {
        assert!(wire.patience(Duration::from_secs(15)).is_closed());
    }
    let lasted = began.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(15)).contains(&lasted), "{lasted:?}");
    assert!(backend.seen().iter().all(|seen| seen.body.is_empty()), "nothing of what was refused goes anywhere");
}

#[test]
fn nobody_who_asks_first_is_told_to_go_on_with_what_is_refused() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    for _ in 0..50 {
        let mut wire = refused_upload(&gateway, "Expect: 100-continue\r\n");
        let refused = wire.receive().expect_refusal(401, "session_required");
        assert!(refused.interim.is_empty(), "{refused:?}");
        let more = wire.patience(Duration::from_millis(20)).try_receive("GET");
        assert!(more.is_err_and(|error| timed_out(&error)));
    }
}

#[test]
fn what_follows_a_request_that_nobody_understands_is_read_and_goes_nowhere() {
    let backend = echo();
    let gateway = gateway(Store::Embedded).with_backend(&backend).start();
    let mut wire = Wire::connect(gateway.address());
    wire.send("POST /public/x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n");
    for _ in 0..100 {
        wire.send(vec![b'x'; 100_000]);
    }
    wire.send("GET /public/smuggled HTTP/1.1\r\nHost: a\r\n\r\n");
    wire.receive().expect_refusal(400, "bad_request");
    assert!(wire.is_closed());
    assert!(backend.seen().is_empty());
}
