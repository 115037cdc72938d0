//! What a replica has of its master, as both say, and how servers are asked: each in a thread of its own, by no relay, so that
//! one that hangs holds up no other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::model::At;

/// Between two questions.
const PAUSE: Duration = Duration::from_millis(40);
/// For an answer.
const PATIENCE: Duration = Duration::from_millis(300);
/// Samples of the master that are kept.
const SAMPLES: usize = 2000;

/// How far a master's data had come at a time.
struct Sample {
    at: At,
    line: String,
    offset: u64,
}

/// A master, and what the others have of it.
pub struct Copies {
    pub master: usize,
    samples: VecDeque<Sample>,
    /// By server: it has all that the master of then had.
    has_all_of: Vec<At>,
}

impl Copies {
    pub fn new(master: usize, servers: usize) -> Self {
        Self { master, samples: VecDeque::new(), has_all_of: vec![At::ZERO; servers] }
    }

    /// A server's `INFO replication`, which was asked for then.
    pub fn look(&mut self, number: usize, at: At, info: &str) {
        let (Some(role), Some(line)) = (field(info, "role"), field(info, "master_replid")) else { return };
        let offset = |name: &str| field(info, name).and_then(|offset| offset.parse().ok());
        if role == "master" {
            if number == self.master
                && let Some(offset) = offset("master_repl_offset")
            {
                self.samples.push_back(Sample { at, line: line.to_owned(), offset });
                if self.samples.len() > SAMPLES {
                    self.samples.pop_front();
                }
            }
            return;
        }
        let Some(has) = offset("slave_repl_offset") else { return };
        let last = self.samples.iter().rev().find(|sample| sample.line == line && sample.offset <= has);
        if let Some(sample) = last {
            self.has_all_of[number] = self.has_all_of[number].max(sample.at);
        }
    }

    /// Another one is the master. Answers what it has all of.
    pub fn followed_by(&mut self, server: usize) -> At {
        self.master = server;
        self.has_all_of[server]
    }
}

/// A field of `INFO` and its like.
pub fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Threads that end with this.
#[derive(Default)]
pub struct Questions {
    over: Arc<AtomicBool>,
}

impl Drop for Questions {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

impl Questions {
    pub fn ask_again_and_again(
        &self,
        port: u16,
        mut ask: impl FnMut(&mut redis::Connection) -> redis::RedisResult<()> + Send + 'static,
    ) {
        let client = redis::Client::open(("127.0.0.1", port)).expect("an address");
        let mut connection = None;
        self.look_again_and_again(move || {
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
        });
    }

    pub fn look_again_and_again(&self, mut look: impl FnMut() + Send + 'static) {
        let over = self.over.clone();
        thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                thread::sleep(PAUSE);
                look();
            }
        });
    }
}
