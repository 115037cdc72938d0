//! What a supervisor is told (docs/deploy.md, "systemd").

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::process::Process;
use crate::support::{Store, echo, gateway};

#[test]
fn the_supervisor_is_told_when_it_serves_reloads_stops_and_that_it_lives() {
    let backend = echo();
    let builder = gateway(Store::Embedded).with_backend(&backend);
    let socket = builder.directory().join("notify");
    let heard = UnixDatagram::bind(&socket).expect("a socket");
    heard.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out can be set");
    let (mut command, scratch) = builder.command();
    command.args(["serve", "--config", "gateway.toml"]).env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "150000");
    let mut process = Process::spawn(&mut command);
    let hears = |word: &str| {
        let mut bytes = [0; 1000];
        for _ in 0..100 {
            let length = heard.recv(&mut bytes).unwrap_or_else(|error| panic!("{error} instead of {word}"));
            let said = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if said.lines().any(|line| line == word) {
                return;
            }
            assert!(said.starts_with("WATCHDOG"), "{said} instead of {word}");
        }
        panic!("nothing but signs of life instead of {word}");
    };
    hears("READY=1");
    for _ in 0..3 {
        hears("WATCHDOG=1");
    }
    process.signal(Signal::HUP);
    hears("RELOADING=1");
    hears("READY=1");
    // One that is refused is over, too.
    std::fs::write(scratch.path().join("gateway.toml"), "nonsense\n").expect("a file");
    process.signal(Signal::HUP);
    hears("RELOADING=1");
    hears("READY=1");
    process.signal(Signal::TERM);
    hears("STOPPING=1");
    assert_eq!(process.wait(Duration::from_secs(10)).expect("it ends").code(), Some(0));
}
