//! Commands to the masters of a cluster: each to the one that has its slot, all masters at once, answered in order.
//!
//! No answer is passed on of a master that nobody vouches for, before or after it; nor of one that has other data than the
//! journal was applied to, which each is asked along with everything; nor of one that was opened since the call began: what
//! the call knows may be of another. What a master says of a slot that is elsewhere was not executed, and is sent there. What
//! is not answered in time may have been, and is never sent again. A master that cannot be asked is the fault of those
//! commands alone that it should have got.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use redis::{Arg, Cmd, Value};
use tokio::time::sleep;

use super::answers::time;
use super::fault::Fault;
use super::lane::{Answer, Lane, Router};
use super::masters::{Master, Masters, Nobody};
use super::slot::Slot;
use crate::clock::Monotonic;
use crate::session::StoreTime;
use crate::store::address::Node;

/// How often a command is sent at the most.
const HOPS: usize = 7;
/// How long before a command is sent again that cannot be answered while its slot moves, or whose master is not known yet, or
/// has not yet what the journal has of the slot (ms).
const PAUSES: [u64; HOPS - 1] = [5, 10, 20, 50, 100, 200];

/// Which connections of each master are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Quick,
    Careful,
    Bulk,
}

/// The connections of one kind to all masters, as they were when a call began.
pub(super) struct Route {
    masters: Arc<Masters>,
    kind: Kind,
    epoch: u64,
    /// A master that is about to be of use to others, too, for these slots.
    opening: Option<(Arc<Master>, BTreeSet<Slot>)>,
}

/// A command that is yet to be answered.
struct Left {
    /// Which of all it is.
    place: usize,
    slot: Slot,
    /// Who is to be asked although the slot is not theirs yet.
    asking: Option<Node>,
}

/// What one master is sent at once.
struct Part {
    master: Arc<Master>,
    asking: bool,
    left: Vec<Left>,
}

/// What came of a command.
enum Came {
    Answer(Value),
    /// To be sent again, now or after a pause.
    Again {
        asking: Option<Node>,
        pauses: bool,
    },
}

impl Route {
    /// The connections as a call began with them: to all masters that were opened until then.
    pub(super) fn lane(masters: Arc<Masters>, kind: Kind, epoch: u64) -> Lane {
        Lane::All(Arc::new(Self { masters, kind, epoch, opening: None }))
    }

    /// The same, and one that is about to serve these slots, whose faults are those of the whole.
    pub(super) fn lane_opening(masters: Arc<Masters>, kind: Kind, master: Arc<Master>, slots: BTreeSet<Slot>) -> Lane {
        let epoch = masters.next_epoch();
        Lane::All(Arc::new(Self { masters, kind, epoch, opening: Some((master, slots)) }))
    }

    fn master_of(&self, slot: Slot) -> Result<Arc<Master>, Nobody> {
        match &self.opening {
            Some((master, slots)) if slots.contains(&slot) => Ok(Arc::clone(master)),
            _ => self.masters.of(slot),
        }
    }

    /// Who gets what, and what is to be tried again. What nobody can be asked for is a fault, and keeps nothing else from
    /// being done.
    fn part(&self, left: Vec<Left>) -> (Vec<Part>, Vec<Left>, Option<Fault>) {
        let (mut parts, mut later, mut fault): (Vec<Part>, _, _) = (Vec::new(), Vec::new(), None);
        for command in left {
            let master = match &command.asking {
                None => self.master_of(command.slot),
                Some(node) => self.masters.at(node).ok_or_else(|| {
                    let unknown = format!("a slot moves to {node}, to which there is no connection yet");
                    Nobody::For(Fault::Shard(unknown))
                }),
            };
            let master = match master {
                Ok(master) if self.knows(&master) => master,
                Ok(master) => {
                    fault = fault.or(Some(Fault::Shard(format!("another server is the master at {}", master.node))));
                    continue;
                }
                Err(Nobody::Yet) => {
                    later.push(command);
                    continue;
                }
                Err(Nobody::For(other)) => {
                    fault = fault.or(Some(other));
                    continue;
                }
            };
            let asking = command.asking.is_some();
            let is_its = |part: &&mut Part| part.master.lanes.epoch == master.lanes.epoch && part.asking == asking;
            match parts.iter_mut().find(is_its) {
                Some(part) => part.left.push(command),
                None => parts.push(Part { master, asking, left: vec![command] }),
            }
        }
        (parts, later, fault)
    }

    /// Whether it was open when these connections were made. One that is opened since has others made at once.
    fn knows(&self, master: &Master) -> bool {
        master.lanes.epoch <= self.epoch
    }

    fn of_master<'a>(&self, master: &'a Master) -> &'a Lane {
        match self.kind {
            Kind::Quick => &master.lanes.quick,
            Kind::Careful => &master.lanes.careful,
            Kind::Bulk => &master.lanes.bulk,
        }
    }

    /// Sends one master what it gets, and takes what it answers.
    async fn ask_one(&self, part: &Part, commands: &[&Cmd], timed: bool) -> Result<(StoreTime, Vec<Came>), Fault> {
        let Part { master, .. } = part;
        let doubt = |fault: Fault| self.trouble(master, fault);
        master.vouched().map_err(doubt)?;
        let Lane::One(line) = self.of_master(master) else {
            return Err(Fault::garbled("a master without a connection"));
        };
        let answers = match line.ask(Self::pipeline(part, commands, timed).ignore_errors()).await {
            Ok(answers) => answers,
            Err(fault) => return Err(self.lost(master, &fault)),
        };
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let now = if timed { time(next())? } else { StoreTime::from_micros(0) };
        let mut came = Vec::with_capacity(part.left.len());
        for command in &part.left {
            if part.asking {
                // What it says of this it says again of the command.
                next();
            }
            came.push(match next() {
                Value::ServerError(error) => self.redirected(master, command, &error)?,
                answer => Came::Answer(answer),
            });
        }
        if master.lanes.is_same_data(next()).is_err() {
            return Err(self.lost(master, &Fault::OtherData));
        }
        master.vouched().map_err(doubt)?;
        Ok((now, came))
    }

    fn pipeline(part: &Part, commands: &[&Cmd], timed: bool) -> redis::Pipeline {
        let mut pipeline = redis::pipe();
        if timed {
            pipeline.cmd("TIME");
        }
        for Left { place, .. } in &part.left {
            if part.asking {
                pipeline.cmd("ASKING");
            }
            if let Some(command) = commands.get(*place) {
                pipeline.add_command(Cmd::clone(command));
            }
        }
        // Last, so that a master that was emptied before is seen.
        pipeline.cmd("GET").arg(&part.master.birth_key);
        pipeline
    }

    /// What an error means for a command.
    fn redirected(&self, master: &Master, command: &Left, error: &redis::ServerError) -> Result<Came, Fault> {
        // `MOVED 3999 127.0.0.1:6381`
        let mut words = error.details().unwrap_or_default().split(' ');
        let mut to = || Some((Slot::parse(words.next()?)?, self.masters.named(master, words.next()?)?));
        match error.code() {
            "MOVED" => {
                self.masters.redirected("moved");
                let (slot, node) = to().ok_or_else(|| Fault::garbled("a slot moved to nowhere"))?;
                if slot != command.slot {
                    return Err(Fault::garbled("another slot moved than was asked for"));
                }
                self.masters.moved(slot, &node);
                // Nobody is known there yet, or it is not open.
                let pauses = self.masters.of(slot).map_or(true, |owner| owner.node != node);
                Ok(Came::Again { asking: None, pauses })
            }
            "ASK" => {
                self.masters.redirected("ask");
                let (_, node) = to().ok_or_else(|| Fault::garbled("a slot moves to nowhere"))?;
                Ok(Came::Again { asking: Some(node), pauses: false })
            }
            "TRYAGAIN" => {
                self.masters.redirected("tryagain");
                Ok(Came::Again { asking: command.asking.clone(), pauses: true })
            }
            _ => {
                let fault = Fault::from(error);
                if fault.breaks_connection() {
                    return Err(self.lost(master, &fault));
                }
                Ok(Came::Answer(Value::ServerError(error.clone())))
            }
        }
    }

    /// What a master does not answer is its own trouble.
    fn lost(&self, master: &Master, fault: &Fault) -> Fault {
        if fault.breaks_connection() {
            self.masters.lost(master, fault);
        }
        self.trouble(master, fault.clone())
    }

    /// A master that is about to serve has to answer: what only it lacks is not left for later.
    fn trouble(&self, master: &Master, fault: Fault) -> Fault {
        match &self.opening {
            Some((opening, _)) if opening.lanes.epoch == master.lanes.epoch => fault,
            _ => Fault::Shard(format!("the master {}: {fault}", master.node)),
        }
    }
}

#[async_trait]
impl Router for Route {
    async fn send(&self, commands: &[&Cmd], timed: bool) -> Result<Vec<Answer>, Fault> {
        let mut answers: Vec<Option<Answer>> = vec![None; commands.len()];
        let mut left = places(commands)?;
        for pause in PAUSES.iter().map(Some).chain([None]) {
            let (parts, later, mut fault) = self.part(left);
            let asked = join_all(parts.iter().map(|part| self.ask_one(part, commands, timed))).await;
            left = later;
            let mut pauses = !left.is_empty();
            for (part, asked) in parts.into_iter().zip(asked) {
                let (now, came) = match asked {
                    Ok(answered) => answered,
                    Err(other) => {
                        fault = fault.or(Some(other));
                        continue;
                    }
                };
                for (command, came) in part.left.into_iter().zip(came) {
                    match came {
                        Came::Answer(value) => {
                            if let Some(place) = answers.get_mut(command.place) {
                                *place = {
                                    let (server, slot) = (part.master.lanes.epoch, command.slot);
                                    Some(Answer { value, server, slot, now })
                                };
                            }
                        }
                        Came::Again { asking, pauses: this_one } => {
                            pauses |= this_one;
                            left.push(Left { asking, ..command });
                        }
                    }
                }
            }
            if let Some(fault) = fault {
                return Err(fault);
            }
            if left.is_empty() {
                let all = answers.into_iter().collect::<Option<Vec<_>>>();
                return all.ok_or_else(|| Fault::garbled("not one answer for each command"));
            }
            left.sort_unstable_by_key(|command| command.place);
            match pause {
                Some(pause) if pauses => sleep(Duration::from_millis(*pause)).await,
                _ => {}
            }
        }
        Err(Fault::Shard(String::from("a slot has no master for long enough to answer: it moves")))
    }

    fn has_server_of(&self, key: &str) -> bool {
        self.masters.of(Slot::of(key.as_bytes())).is_ok_and(|master| self.knows(&master))
    }

    fn since(&self, key: &str) -> Option<Monotonic> {
        self.masters.of(Slot::of(key.as_bytes())).ok().map(|master| master.lanes.since)
    }

    fn each(&self) -> Result<Vec<Lane>, Fault> {
        Ok(self.masters.whole()?.iter().map(|master| self.of_master(master).clone()).collect())
    }
}

/// Where each command goes: by its first key. One that has none goes with the next that has.
fn places(commands: &[&Cmd]) -> Result<Vec<Left>, Fault> {
    let mut places = Vec::with_capacity(commands.len());
    let mut next = None;
    for (place, command) in commands.iter().enumerate().rev() {
        next = slot_of(command).or(next);
        let slot = next.ok_or_else(|| Fault::garbled("a command for no master"))?;
        places.push(Left { place, slot, asking: None });
    }
    places.reverse();
    Ok(places)
}

/// The slot of a command's first key, if it has one.
pub(super) fn slot_of(command: &Cmd) -> Option<Slot> {
    first_key(command).map(Slot::of)
}

fn first_key(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter().map(|word| if let Arg::Simple(word) = word { word } else { b"0" });
    match words.next()? {
        b"TIME" => None,
        b"EVAL" => words.nth(2),
        _ => words.next(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(pipeline: &redis::Pipeline) -> Result<Vec<Slot>, Fault> {
        let commands: Vec<&Cmd> = pipeline.cmd_iter().collect();
        Ok(places(&commands)?.into_iter().map(|left| left.slot).collect())
    }

    #[test]
    fn a_command_goes_where_its_first_key_is_and_one_without_with_the_next() {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME").cmd("GET").arg("s:{a}");
        pipeline.cmd("EVAL").arg("return 1").arg(2).arg("n:{b}").arg("nn:{b}").arg("x");
        pipeline.cmd("TIME").cmd("SET").arg("e:{c}").arg("1").arg("NX");
        let [a, b, c] = ["a", "b", "c"].map(|tag| Slot::of(tag.as_bytes()));
        assert_eq!(slots(&pipeline), Ok(vec![a, a, b, c, c]));
    }

    #[test]
    fn what_has_no_key_and_nothing_after_it_is_for_nobody() {
        let mut pipeline = redis::pipe();
        pipeline.cmd("GET").arg("s:{a}").cmd("TIME");
        assert!(slots(&pipeline).is_err());
    }
}
