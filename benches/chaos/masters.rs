//! Sees who is the master, as a majority of the Sentinels says, and what each replica had of it when it became one.
//!
//! Asks servers and Sentinels themselves, by no relay, each in a thread of its own: one that hangs holds up no other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::{At, Model, Promotion};

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(40);
/// For an answer.
const PATIENCE: Duration = Duration::from_millis(300);
/// An older word of a Sentinel is none.
const FRESH: Duration = Duration::from_secs(1);
/// Samples of the master that are kept.
const SAMPLES: usize = 2000;

/// How far a master's data had come at a time.
struct Sample {
    at: At,
    line: String,
    offset: u64,
}

#[derive(Default)]
struct Seen {
    /// By Sentinel: whom it named when.
    named: Vec<Option<(At, usize)>>,
    master: usize,
    samples: VecDeque<Sample>,
    /// By server: it has all that the master of then had.
    has_all_of: Vec<At>,
}

/// What is asked, by whom it is called there.
pub struct Ports {
    pub servers: Vec<u16>,
    pub sentinels: Vec<u16>,
    /// What the Sentinels call the servers.
    pub called: Vec<u16>,
    pub name: &'static str,
}

/// Ends with its handle.
pub struct Masters {
    over: Arc<AtomicBool>,
}

impl Drop for Masters {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Masters {
    pub fn watch(ports: Ports, model: &Arc<Model>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen {
            named: vec![None; ports.sentinels.len()],
            has_all_of: vec![At::ZERO; ports.servers.len()],
            ..Seen::default()
        }));
        for (number, port) in ports.servers.iter().copied().enumerate() {
            let (seen, model) = (seen.clone(), model.clone());
            again_and_again(port, &over, move |connection| {
                let at = model.now();
                let info: String = redis::cmd("INFO").arg("replication").query(connection)?;
                look_at_a_server(&mut seen.lock(), number, at, &info);
                Ok(())
            });
        }
        let called = Arc::new(ports.called);
        for (number, port) in ports.sentinels.iter().copied().enumerate() {
            let (seen, model, called, name) = (seen.clone(), model.clone(), called.clone(), ports.name);
            again_and_again(port, &over, move |connection| {
                let ask = ["GET-MASTER-ADDR-BY-NAME", name];
                let named: Vec<String> = redis::cmd("SENTINEL").arg(&ask).query(connection)?;
                let port = named.get(1).and_then(|port| port.parse().ok());
                if let Some(server) = called.iter().position(|other| Some(*other) == port) {
                    hear_a_sentinel(&mut seen.lock(), number, server, &model);
                }
                Ok(())
            });
        }
        Self { over }
    }
}

fn again_and_again(
    port: u16,
    over: &Arc<AtomicBool>,
    mut ask: impl FnMut(&mut redis::Connection) -> redis::RedisResult<()> + Send + 'static,
) {
    let over = over.clone();
    thread::spawn(move || {
        let client = redis::Client::open(("127.0.0.1", port)).expect("an address");
        let mut connection = None;
        while !over.load(Ordering::SeqCst) {
            thread::sleep(PAUSE);
            if connection.is_none() {
                connection = client.get_connection_with_timeout(PATIENCE).ok();
                let told = connection.as_ref().map(|connection| connection.set_read_timeout(Some(PATIENCE)));
                if !matches!(told, Some(Ok(()))) {
                    connection = None;
                }
            }
            if let Some(asked) = &mut connection
                && ask(asked).is_err()
            {
                connection = None;
            }
        }
    });
}

fn look_at_a_server(seen: &mut Seen, number: usize, at: At, info: &str) {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let (Some(role), Some(line)) = (field("role"), field("master_replid")) else { return };
    let offset = |name: &str| field(name).and_then(|offset| offset.parse().ok());
    if role == "master" {
        if number == seen.master
            && let Some(offset) = offset("master_repl_offset")
        {
            seen.samples.push_back(Sample { at, line: line.to_owned(), offset });
            if seen.samples.len() > SAMPLES {
                seen.samples.pop_front();
            }
        }
        return;
    }
    let Some(has) = offset("slave_repl_offset") else { return };
    let last = seen.samples.iter().rev().find(|sample| sample.line == line && sample.offset <= has);
    if let Some(sample) = last {
        seen.has_all_of[number] = seen.has_all_of[number].max(sample.at);
    }
}

fn hear_a_sentinel(seen: &mut Seen, number: usize, server: usize, model: &Model) {
    let now = model.now();
    seen.named[number] = Some((now, server));
    let fresh =
        |named: &&Option<(At, usize)>| named.is_some_and(|(at, by)| by == server && now.saturating_sub(at) < FRESH);
    let votes = seen.named.iter().filter(fresh).count();
    if server == seen.master || votes * 2 <= seen.named.len() {
        return;
    }
    seen.master = server;
    let promotion = Promotion { at: now, server, had_all_of: seen.has_all_of[server] };
    let behind = now.saturating_sub(promotion.had_all_of);
    model.known().promotions.push(promotion);
    model.tell(format!("server {server} is the master; it had all of {behind:?} ago"));
}
