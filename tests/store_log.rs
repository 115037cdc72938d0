//! What the Redis store logs: each change once, and never a secret.
//!
//! A process of its own: while one thread alone captures the log, another thread's first use of a line turns that line
//! off for all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "shared with the tests of the stores")]
#[path = "store/bench.rs"]
mod bench;
#[allow(dead_code, reason = "shared with the tests of the stores")]
#[path = "store/redis_server.rs"]
mod redis_server;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use session_gateway::secret::Secret;
use session_gateway::store::observe::{CallOutcome, StoreObserver};
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{SharedStore, StoreAddress};
use tracing_subscriber::fmt::MakeWriter;

use crate::bench::{login, session};
use crate::redis_server::RedisServer;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }

    fn count(&self, words: &str) -> usize {
        self.text().lines().filter(|line| line.contains(words)).count()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[derive(Default)]
struct States(Mutex<Vec<bool>>, Mutex<Vec<(&'static str, CallOutcome)>>);

impl StoreObserver for States {
    fn command(&self, command: &'static str, outcome: CallOutcome) {
        self.1.lock().push((command, outcome));
    }
    fn state(&self, up: bool) {
        self.0.lock().push(up);
    }
    fn looked_up(&self, _: bool) {}
    fn cache(&self, _: bool, _: usize) {}
}

async fn until(lines: &Lines, words: &str, times: usize) {
    for _ in 0..400 {
        if lines.count(words) == times {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not {times} lines with {words:?}:\n{}", lines.text());
}

// One thread: the subscriber is the thread's.
#[tokio::test]
async fn each_change_of_state_is_logged_once_and_never_with_the_password() {
    let lines = Lines::default();
    let subscriber =
        tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).with_max_level(tracing::Level::TRACE);
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let states = Arc::new(States::default());
    let mut server = RedisServer::start(&["--user", "gateway", "on", ">other", "~*", "+@all"]).await;
    let url = Secret::new(format!("redis://gateway:hunter2@127.0.0.1:{}", server.port()));
    let settings = RedisSettings::new(StoreAddress::parse(&url, None, None).unwrap(), "sg:");
    let store: SharedStore = RedisStore::connect(settings, states.clone()).await.unwrap();
    for _ in 0..20 {
        assert!(store.check().await.is_err());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(lines.count("is unavailable"), 1, "{}", lines.text());
    assert_eq!(lines.count("WRONGPASS"), 1, "{}", lines.text());

    server.cli(&["ACL", "SETUSER", "gateway", ">hunter2"]);
    until(&lines, "is connected", 1).await;
    session(&store).await;

    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..5 {
        assert!(store.create(login(&store).await).await.is_err());
    }
    assert_eq!(lines.count("refuses a command"), 1, "{}", lines.text());
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    for _ in 0..3 {
        session(&store).await;
    }
    assert_eq!(lines.count("takes the command again"), 1, "{}", lines.text());

    let (id, _) = session(&store).await;
    server.cli(&["SET", &format!("sg:s:{{{id}}}"), "garbage"]);
    for _ in 0..5 {
        assert!(store.read(id).await.is_err());
        session(&store).await;
    }
    assert_eq!(lines.count("cannot be read"), 1, "{}", lines.text());

    server.kill();
    until(&lines, "Connection refused", 1).await;
    for _ in 0..20 {
        assert!(store.check().await.is_err());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Lost, then refused; or noticed by the refusal alone.
    assert!(lines.count("is unavailable") <= 3, "{}", lines.text());
    server.run().await;
    server.cli(&["ACL", "SETUSER", "gateway", ">hunter2"]);
    until(&lines, "is connected", 2).await;

    assert!(!lines.text().contains("hunter2"), "{}", lines.text());
    assert_eq!(*states.0.lock(), [true, false, true]);
    let commands = states.1.lock();
    for expected in [("check", CallOutcome::Down), ("create", CallOutcome::Ok), ("create", CallOutcome::Refused)] {
        assert!(commands.contains(&expected), "{expected:?}");
    }
}
