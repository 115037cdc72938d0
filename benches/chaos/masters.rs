//! Sees who is the master, as a majority of the Sentinels says, and what each replica had of it when it became one.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::copies::{Copies, Questions};
use crate::model::{At, Model, Promotion};

/// An older word of a Sentinel is none.
const FRESH: Duration = Duration::from_secs(1);

struct Seen {
    /// By Sentinel: whom it named when.
    named: Vec<Option<(At, usize)>>,
    copies: Copies,
}

/// What is asked, by whom it is called there.
pub struct Ports {
    pub servers: Vec<u16>,
    pub sentinels: Vec<u16>,
    /// What the Sentinels call the servers.
    pub called: Vec<u16>,
    pub name: &'static str,
}

/// Looks until what it answers is gone.
pub fn watch(ports: Ports, model: &Arc<Model>) -> Questions {
    let questions = Questions::default();
    let seen = Arc::new(Mutex::new(Seen {
        named: vec![None; ports.sentinels.len()],
        copies: Copies::new(0, ports.servers.len()),
    }));
    for (number, port) in ports.servers.iter().copied().enumerate() {
        let (seen, model) = (seen.clone(), model.clone());
        questions.ask_again_and_again(port, move |connection| {
            let at = model.now();
            let info: String = redis::cmd("INFO").arg("replication").query(connection)?;
            seen.lock().copies.look(number, at, &info);
            Ok(())
        });
    }
    let called = Arc::new(ports.called);
    for (number, port) in ports.sentinels.iter().copied().enumerate() {
        let (seen, model, called, name) = (seen.clone(), model.clone(), called.clone(), ports.name);
        questions.ask_again_and_again(port, move |connection| {
            let ask = ["GET-MASTER-ADDR-BY-NAME", name];
            let named: Vec<String> = redis::cmd("SENTINEL").arg(&ask).query(connection)?;
            let port = named.get(1).and_then(|port| port.parse().ok());
            if let Some(server) = called.iter().position(|other| Some(*other) == port) {
                hear_a_sentinel(&mut seen.lock(), number, server, &model);
            }
            Ok(())
        });
    }
    questions
}

fn hear_a_sentinel(seen: &mut Seen, number: usize, server: usize, model: &Model) {
    let now = model.now();
    seen.named[number] = Some((now, server));
    let fresh =
        |named: &&Option<(At, usize)>| named.is_some_and(|(at, by)| by == server && now.saturating_sub(at) < FRESH);
    let votes = seen.named.iter().filter(fresh).count();
    if server == seen.copies.master || votes * 2 <= seen.named.len() {
        return;
    }
    let had_all_of = seen.copies.followed_by(server);
    model.promoted(Promotion { at: now, part: 0, server, had_all_of });
}
