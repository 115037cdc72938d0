//! `check`: everything that is wrong with a configuration, or what it means; with `--connect`, whether what it names
//! answers.

use std::fmt::Write as _;
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use super::{BAD_CONFIGURATION, CheckOptions, FAILED, complain, say};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Mode, StoreConfig, locate, process_environment};
use crate::descriptors::{self, Room};
use crate::upstream::PeerAddress;

/// Tries whether a store answers; an error's text is for people.
pub type TryStore<'a> = &'a dyn Fn(&StoreConfig) -> Result<(), String>;

/// Checks a configuration, and with `--connect` what it names.
#[must_use]
pub fn check(options: &CheckOptions, try_store: TryStore<'_>) -> ExitCode {
    let file = locate(options.config.config.clone(), process_environment);
    let config = match Config::load(&file, &process_environment) {
        Ok(config) => config,
        Err(errors) => {
            complain(errors);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let limit = descriptors::most();
    let room = match Room::with(limit, &config) {
        Ok(room) => room,
        Err(too_few) => {
            complain(too_few);
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    let dated = config.warnings_at(SystemClock.wall());
    for warning in config.warnings.iter().cloned().chain(dated).chain(room.warning(limit, &config)) {
        complain(format_args!("warning: {warning}"));
    }
    say(format_args!("{}: ok", file.display()));
    say(summary(&config).trim_end());
    if !options.connect {
        return ExitCode::SUCCESS;
    }
    let attempts = connect(&config, try_store);
    for Attempt { what, outcome } in &attempts {
        match outcome {
            Ok(()) => say(format_args!("{what}: connected")),
            Err(error) => complain(format_args!("{what}: {error}")),
        }
    }
    let all = attempts.iter().all(|attempt| attempt.outcome.is_ok());
    if all { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// What a configuration means, a line each.
fn summary(config: &Config) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name:<10} {value}");
    };
    let mode = match config.server.mode {
        Mode::Production => "production",
        Mode::Development => "development",
    };
    line("digest", &config.digest.to_string());
    line("mode", mode);
    let listen: Vec<String> = config.server.listen.iter().map(ToString::to_string).collect();
    line("listen", &format!("{} as {}", listen.join(", "), config.server.public_url));
    for (name, upstream) in &config.upstreams {
        let peers: Vec<String> = upstream.peers.iter().map(ToString::to_string).collect();
        line("upstream", &format!("{name}: {}", peers.join(", ")));
    }
    line("store", &config.store.describe());
    let logins: Vec<&str> = config.login.paths.iter().map(crate::policy::PathPattern::as_str).collect();
    line("login", &logins.join(", "));
    let routes = match config.routes.explicit_count() {
        0 => String::from("none in the file; all but the login needs a session"),
        count => format!("{count} patterns in the file; all else but the login needs a session"),
    };
    line("routes", &routes);
    line("admin", &config.admin.listen.to_string());
    text
}

struct Attempt {
    what: String,
    outcome: Result<(), String>,
}

fn connect(config: &Config, try_store: TryStore<'_>) -> Vec<Attempt> {
    let mut attempts = Vec::new();
    for (name, upstream) in &config.upstreams {
        for peer in &upstream.peers {
            let outcome = reach(peer, upstream.connect_timeout).map_err(|error| error.to_string());
            attempts.push(Attempt { what: format!("upstream {name} at {peer}"), outcome });
        }
    }
    attempts.push(Attempt { what: format!("store {}", config.store.describe()), outcome: try_store(&config.store) });
    attempts
}

fn reach(peer: &PeerAddress, timeout: Duration) -> io::Result<()> {
    match peer {
        PeerAddress::Unix(path) => UnixStream::connect(path).map(drop),
        PeerAddress::Tcp { host, port } | PeerAddress::Tls { host, port } => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in (host.as_str(), *port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, timeout) {
                    Ok(_) => return Ok(()),
                    Err(error) => last = error,
                }
            }
            Err(last)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn config(upstream: &str) -> Config {
        let text = format!(
            "[server]\nmode = \"development\"\npublic_url = \"http://localhost:8080\"\n[upstream]\nurl = \"{upstream}\"\n\
             [store]\nredis = \"redis://me:hidden@127.0.0.1:6379/0\"\n"
        );
        Config::parse("t.toml", &text, &|_| None).expect("a valid configuration")
    }

    #[test]
    fn the_summary_says_what_is_served_and_no_password() {
        let summary = summary(&config("http://127.0.0.1:5000"));
        for part in ["127.0.0.1:8080 as http://localhost:8080", "default: http://127.0.0.1:5000", "127.0.0.1:6379/0"] {
            assert!(summary.contains(part), "{part} in {summary}");
        }
        assert!(!summary.contains("hidden"));
    }

    #[test]
    fn connect_tells_a_peer_that_answers_from_one_that_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let outcomes = |url: &str, store: TryStore<'_>| -> Vec<bool> {
            connect(&config(url), store).iter().map(|attempt| attempt.outcome.is_ok()).collect()
        };
        assert_eq!(outcomes(&format!("http://{address}"), &|_| Ok(())), [true, true]);
        assert_eq!(outcomes("unix:/nowhere/at.all", &|_| Err(String::from("down"))), [false, false]);
        drop(listener);
        assert_eq!(outcomes(&format!("http://{address}"), &|_| Ok(())), [false, true]);
    }
}
