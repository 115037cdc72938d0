//! Sees who is the master of each part of a cluster, as the nodes themselves say, what the other one had of it when it became
//! one, and when a part has none that serves.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::copies::{Copies, Questions, field};
use crate::model::{At, Model, Promotion};
use crate::troubles::Of;

/// A master that says nothing for so long is away; so are we if we do not get to look for so long.
const SILENT: Duration = Duration::from_millis(300);

/// What a node said last.
#[derive(Clone, Default)]
struct Word {
    at: At,
    is_master: bool,
    /// It takes commands, or follows a master.
    is_well: bool,
    /// The masters that it knows, with their slots.
    layout: Vec<String>,
}

struct Seen {
    words: Vec<Word>,
    /// By part.
    copies: Vec<Copies>,
    elections: Vec<u64>,
    looked: At,
}

/// The nodes, watched until this is gone.
pub struct Shards {
    model: Arc<Model>,
    seen: Arc<Mutex<Seen>>,
    parts: usize,
    _questions: Questions,
}

impl Shards {
    /// The nodes by their own ports: first the masters, then their replicas in the same order.
    pub fn watch(ports: &[u16], model: &Arc<Model>) -> Self {
        let questions = Questions::default();
        let parts = ports.len() / 2;
        let seen = Arc::new(Mutex::new(Seen {
            words: vec![Word::default(); ports.len()],
            copies: (0..parts).map(|part| Copies::new(part, ports.len())).collect(),
            elections: vec![0; parts],
            looked: model.now(),
        }));
        for (number, port) in ports.iter().copied().enumerate() {
            let (seen, model) = (seen.clone(), model.clone());
            questions.ask_again_and_again(port, move |connection| {
                let at = model.now();
                let mut ask = redis::pipe();
                ask.cmd("INFO").arg("replication");
                ask.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("NODES");
                let (info, state, nodes): (String, String, String) = ask.query(connection)?;
                hear(&mut seen.lock(), number, at, [&info, &state, &nodes], &model);
                Ok(())
            });
        }
        let (own, watched) = (model.clone(), seen.clone());
        questions.look_again_and_again(move || look(&mut watched.lock(), &own));
        Self { model: model.clone(), seen, parts, _questions: questions }
    }

    /// The master of a part; the last, while there is none.
    pub fn master(&self, part: usize) -> usize {
        self.seen.lock().copies[part].master
    }

    pub fn replica(&self, part: usize) -> usize {
        (self.master(part) + self.parts) % (2 * self.parts)
    }

    /// Whether all nodes have said of late that they are well, and the same of who has what.
    pub fn are_whole(&self) -> bool {
        let seen = self.seen.lock();
        let now = self.model.now();
        let (first, masters) = (&seen.words[0], seen.words.iter().filter(|word| word.is_master).count());
        masters == self.parts
            && seen.words.iter().all(|word| word.at + SILENT > now && word.is_well && word.layout == first.layout)
    }
}

fn hear(seen: &mut Seen, number: usize, at: At, [info, state, nodes]: [&str; 3], model: &Model) {
    let part = number % seen.copies.len();
    seen.copies[part].look(number, at, info);
    let is_master = field(info, "role") == Some("master");
    let takes_commands = field(state, "cluster_state") == Some("ok");
    let is_well = takes_commands && (is_master || field(info, "master_link_status") == Some("up"));
    let has_slots = |line: &&str| line.contains("master") && line.split(' ').nth(8).is_some();
    // Who, since which election, and what; not how it is reached.
    let say = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        format!("{} {} {}", fields[0], fields[6], fields[8..].join(" "))
    };
    let own = nodes.lines().find(|line| line.contains("myself")).unwrap_or_default();
    let (election, slots) = (own.split(' ').nth(6), own.split(' ').skip(8).count());
    let election = election.and_then(|number| number.parse().ok()).unwrap_or_default();
    let mut layout: Vec<String> = nodes.lines().filter(has_slots).map(say).collect();
    layout.sort();
    seen.words[number] = Word { at, is_master, is_well, layout };
    if !is_master || slots == 0 {
        return;
    }
    if number == seen.copies[part].master {
        seen.elections[part] = seen.elections[part].max(election);
    } else if election > seen.elections[part] {
        seen.elections[part] = election;
        let had_all_of = seen.copies[part].followed_by(number);
        model.promoted(Promotion { at: model.now(), part, server: number, had_all_of });
    }
}

/// Which parts nobody serves, and which have no replica.
fn look(seen: &mut Seen, model: &Model) {
    let now = model.now();
    let before = std::mem::replace(&mut seen.looked, now);
    let mut known = model.known();
    if now.saturating_sub(before) > SILENT {
        // This machine does something else.
        known.troubles.was_seen(Of::All, before, now);
    }
    let parts = seen.copies.len();
    for (part, copies) in seen.copies.iter().enumerate() {
        let (master, replica) = (&seen.words[copies.master], &seen.words[(copies.master + parts) % (2 * parts)]);
        if master.at + SILENT < now || !master.is_master || !master.is_well {
            known.troubles.was_seen(Of::Part(part), master.at, now);
        }
        if replica.at + SILENT < now || replica.is_master || !replica.is_well {
            known.troubles.was_seen(Of::Replica(part), replica.at, now);
        }
    }
}
