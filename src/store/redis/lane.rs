//! The connections to one server, each shared by all callers; or to all masters of a cluster, as if they were one.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};

use super::answers::time;
use super::fault::{Fault, answers, number, text};
use super::keys::{Keys, place_of};
use super::slot::Slot;
use crate::clock::Monotonic;
use crate::session::StoreTime;
use crate::store::address::Node;
use crate::store::cache::{Origin, Place};

/// Connections to the server: a slow creation or ending must not hold up the reads behind it, nor the walk over many
/// sessions either of them.
pub(super) struct Lanes {
    /// Counts the connections of this process.
    pub(super) epoch: u64,
    /// For reads and touches.
    pub(super) quick: Lane,
    /// For what makes and ends sessions.
    pub(super) careful: Lane,
    /// For walks over many sessions.
    pub(super) bulk: Lane,
    /// For proofs, which wait for replicas; `None` where no other server may come in its place.
    pub(super) fence: Option<Lane>,
    /// How the server is reached.
    pub(super) client: Arc<redis::Client>,
    /// What it is called, where Sentinels named it.
    pub(super) node: Option<Node>,
    /// From when on it is used: what was asked before was asked of another.
    pub(super) since: Monotonic,
    /// What the server called itself when they were made.
    pub(super) identity: Option<String>,
    /// Since when it has had its data.
    pub(super) birth: Vec<u8>,
}

impl Lanes {
    /// Whether what was read just before the birth was read from the data that the journal was applied to. One that was
    /// emptied since has forgotten who is shut out.
    pub(super) fn is_same_data(&self, birth: Value) -> Result<(), Fault> {
        if text(birth)?.as_ref() == Some(&self.birth) { Ok(()) } else { Err(Fault::OtherData) }
    }

    /// Asks on one of them, and answers only from the data that the journal was applied to. The masters of a cluster each
    /// show theirs to whatever is asked.
    pub(super) async fn ask_same_data(
        &self,
        lane: &Lane,
        keys: &Keys,
        pipeline: Pipeline,
    ) -> Result<Vec<Value>, Fault> {
        Ok(self.ask_same_data_whom(lane, keys, pipeline).await?.0)
    }

    /// The same, and where the answers came from.
    pub(super) async fn ask_same_data_whom(
        &self,
        lane: &Lane,
        keys: &Keys,
        mut pipeline: Pipeline,
    ) -> Result<(Vec<Value>, Vec<Origin>), Fault> {
        if matches!(lane, Lane::All(_)) {
            return self.ask_whom(lane, &mut pipeline).await;
        }
        // Last, so that a server that was emptied before is seen.
        pipeline.cmd("GET").arg(keys.birth());
        let (mut answers, origins) = self.ask_whom(lane, &mut pipeline).await?;
        self.is_same_data(answers.pop().unwrap_or(Value::Nil))?;
        Ok((answers, origins))
    }

    /// Asks on one of them. Answers also where the answers came from.
    pub(super) async fn ask_whom(
        &self,
        lane: &Lane,
        pipeline: &mut Pipeline,
    ) -> Result<(Vec<Value>, Vec<Origin>), Fault> {
        let (answers, origins) = self.ask_each_whom(lane, pipeline).await?;
        Ok((all_well(answers)?, origins))
    }

    /// The same; a command's own error is its answer.
    pub(super) async fn ask_each_whom(
        &self,
        lane: &Lane,
        pipeline: &mut Pipeline,
    ) -> Result<(Vec<Value>, Vec<Origin>), Fault> {
        match lane {
            Lane::One(line) => {
                let origin = Origin { place: Place::ONLY, source: self.epoch };
                Ok((line.ask(pipeline.ignore_errors()).await?, vec![origin]))
            }
            Lane::All(router) => {
                let answered = router.send(&commands(pipeline), false).await?;
                let origin = |answer: &Answer| Origin { place: place_of(answer.slot), source: answer.server };
                let origins = answered.iter().map(origin).collect();
                Ok((values(answered), origins))
            }
        }
    }

    /// Which server it is, with which data; `None` where it does not say.
    pub(super) fn server(&self) -> Option<String> {
        let identity = self.identity.as_ref()?;
        Some(format!("{identity} {}", String::from_utf8_lossy(&self.birth)))
    }
}

/// One connection, shared by all callers.
#[derive(Clone)]
pub(super) struct Line(MultiplexedConnection);

impl Line {
    /// Sends all commands, and takes all answers.
    pub(super) async fn ask(&self, pipeline: &Pipeline) -> Result<Vec<Value>, Fault> {
        let mut connection = self.0.clone();
        let value = pipeline.query_async::<Value>(&mut connection).await?;
        answers(value, pipeline.len())
    }
}

/// What a master of a cluster answered.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) value: Value,
    /// Which one it was.
    pub(super) server: u64,
    /// The slot that was asked about.
    pub(super) slot: Slot,
    /// What time it was there, if that was asked.
    pub(super) now: StoreTime,
}

/// Sends commands to the masters of a cluster, each to the one that has its slot.
#[async_trait]
pub(super) trait Router: Send + Sync {
    /// Sends all commands, and takes all answers; a command's own error is its answer. With each comes the time where it came
    /// from, if that is asked for.
    async fn send(&self, commands: &[&Cmd], timed: bool) -> Result<Vec<Answer>, Fault>;

    /// Whether there is a master that could be asked about a key now.
    fn has_server_of(&self, key: &str) -> bool;

    /// Since when the master that would be asked about a key is used.
    fn since(&self, key: &str) -> Option<Monotonic>;

    /// A connection to each master, which together have all slots.
    fn each(&self) -> Result<Vec<Lane>, Fault>;
}

/// One connection; or the connections of one kind to all masters of a cluster.
#[derive(Clone)]
pub(super) enum Lane {
    One(Line),
    All(Arc<dyn Router>),
}

/// What time it was where each answer came from.
pub(super) enum Clocks {
    One(StoreTime),
    Each(Vec<StoreTime>),
}

impl Clocks {
    /// Where the answer of this place came from.
    pub(super) fn at(&self, place: usize) -> Result<StoreTime, Fault> {
        match self {
            Self::One(now) => Ok(*now),
            Self::Each(each) => each.get(place).copied().ok_or_else(|| Fault::garbled("an answer without a time")),
        }
    }
}

impl Lane {
    pub(super) const fn over(connection: MultiplexedConnection) -> Self {
        Self::One(Line(connection))
    }

    /// Sends all commands and takes all answers; the first error of any is the error of all. On a cluster each master gets
    /// its own, in order, and all at once.
    pub(super) async fn ask(&self, pipeline: &Pipeline) -> Result<Vec<Value>, Fault> {
        match self {
            Self::One(line) => line.ask(pipeline).await,
            Self::All(router) => all_well(send(&**router, &commands(pipeline)).await?),
        }
    }

    /// The same; but what comes from a place on is sent to other masters only once all before it was answered, and not at
    /// all where that failed. On one server they come one after the other anyway.
    pub(super) async fn ask_in_turn(&self, pipeline: &Pipeline, places: &[usize]) -> Result<Vec<Value>, Fault> {
        let Self::All(router) = self else { return self.ask(pipeline).await };
        let mut left = &commands(pipeline)[..];
        let mut answers = Vec::with_capacity(left.len());
        for place in places.iter().copied().chain([pipeline.len()]) {
            let (now, then) = left.split_at(place.saturating_sub(answers.len()).min(left.len()));
            answers.extend(all_well(send(&**router, now).await?)?);
            left = then;
        }
        Ok(answers)
    }

    /// Sends a command whose answer is a number.
    pub(super) async fn ask_number(&self, command: Cmd) -> Result<i64, Fault> {
        let mut pipeline = redis::pipe();
        pipeline.add_command(command);
        let answers = self.ask(&pipeline).await?;
        number(answers.first().unwrap_or(&Value::Nil))
    }

    /// Sends all commands; a command's own error is its answer.
    pub(super) async fn ask_each(&self, pipeline: &mut Pipeline) -> Result<Vec<Value>, Fault> {
        match self {
            Self::One(line) => line.ask(pipeline.ignore_errors()).await,
            Self::All(router) => send(&**router, &commands(pipeline)).await,
        }
    }

    /// The same of a pipeline that begins with `TIME`: the time where each of the other answers came from, and those.
    pub(super) async fn ask_timed(&self, pipeline: &mut Pipeline) -> Result<(Clocks, Vec<Value>), Fault> {
        match self {
            Self::One(line) => {
                let mut answers = line.ask(pipeline.ignore_errors()).await?;
                if answers.is_empty() {
                    return Err(Fault::garbled("nobody was asked for the time"));
                }
                Ok((Clocks::One(time(answers.remove(0))?), answers))
            }
            Self::All(router) => {
                let answered = router.send(commands(pipeline).get(1..).unwrap_or_default(), true).await?;
                let clocks = answered.iter().map(|answer| answer.now).collect();
                Ok((Clocks::Each(clocks), values(answered)))
            }
        }
    }

    /// The server's time; a cluster's is that of any master.
    pub(super) async fn now(&self, keys: &Keys) -> Result<StoreTime, Fault> {
        let mut fault = None;
        for order in keys.orders() {
            let mut pipeline = redis::pipe();
            pipeline.cmd("TIME");
            if matches!(self, Self::All(_)) {
                pipeline.cmd("EXISTS").arg(order);
            }
            match self.ask(&pipeline).await {
                Ok(answers) => return time(answers.into_iter().next().unwrap_or(Value::Nil)),
                Err(other) => fault = Some(other),
            }
        }
        Err(fault.unwrap_or_else(|| Fault::garbled("nobody was asked for the time")))
    }

    /// The same of commands about one key, and which server answered the first: another number is another server.
    pub(super) async fn ask_whom(&self, pipeline: &Pipeline) -> Result<(u64, Vec<Value>), Fault> {
        match self {
            Self::One(line) => Ok((0, line.ask(pipeline).await?)),
            Self::All(router) => {
                let answered = router.send(&commands(pipeline), false).await?;
                let server = answered.first().map_or(0, |answer| answer.server);
                Ok((server, all_well(values(answered))?))
            }
        }
    }

    /// Whether somebody could be asked about a key now, as far as is known.
    pub(super) fn has_server_of(&self, key: &str) -> bool {
        match self {
            Self::One(_) => true,
            Self::All(router) => router.has_server_of(key),
        }
    }

    /// Whether the one of several masters that would be asked about a key is used since less than that ago, or nobody is.
    pub(super) fn may_be_new(&self, key: &str, now: Monotonic, within: Duration) -> bool {
        match self {
            Self::One(_) => false,
            Self::All(router) => router.since(key).is_none_or(|since| now.since(since) < within),
        }
    }

    /// Those of which each leads to one server, and all together to all data.
    pub(super) fn each(&self) -> Result<Vec<Self>, Fault> {
        match self {
            Self::One(_) => Ok(vec![self.clone()]),
            Self::All(router) => router.each(),
        }
    }
}

async fn send(router: &dyn Router, commands: &[&Cmd]) -> Result<Vec<Value>, Fault> {
    Ok(values(router.send(commands, false).await?))
}

fn values(answered: Vec<Answer>) -> Vec<Value> {
    answered.into_iter().map(|answer| answer.value).collect()
}

fn commands(pipeline: &Pipeline) -> Vec<&Cmd> {
    pipeline.cmd_iter().collect()
}

fn all_well(answers: Vec<Value>) -> Result<Vec<Value>, Fault> {
    match answers.iter().find_map(|answer| if let Value::ServerError(error) = answer { Some(error) } else { None }) {
        Some(error) => Err(Fault::from(error)),
        None => Ok(answers),
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Answers each command with its name, but for one that it refuses.
    #[derive(Default)]
    struct Told {
        sent: Mutex<Vec<Vec<String>>>,
        refuses: &'static str,
    }

    #[async_trait]
    impl Router for Told {
        async fn send(&self, commands: &[&Cmd], _timed: bool) -> Result<Vec<Answer>, Fault> {
            let names: Vec<String> = commands
                .iter()
                .map(|command| {
                    String::from_utf8_lossy(&command.get_packed_command()).lines().nth(2).unwrap().to_owned()
                })
                .collect();
            self.sent.lock().push(names.clone());
            if names.contains(&self.refuses.to_owned()) {
                return Err(Fault::Shard(String::from("gone")));
            }
            let answer = |(place, name)| {
                let place: u64 = u64::try_from(place).unwrap();
                let (slot, now) = (Slot::of(b""), StoreTime::from_micros(place));
                Answer { value: Value::SimpleString(name), server: place, slot, now }
            };
            Ok(names.into_iter().enumerate().map(answer).collect())
        }

        fn has_server_of(&self, _key: &str) -> bool {
            false
        }

        fn since(&self, _key: &str) -> Option<Monotonic> {
            None
        }

        fn each(&self) -> Result<Vec<Lane>, Fault> {
            Ok(Vec::new())
        }
    }

    fn pipeline(names: &[&str]) -> Pipeline {
        let mut pipeline = redis::pipe();
        for name in names {
            pipeline.cmd(name);
        }
        pipeline
    }

    #[tokio::test]
    async fn what_comes_in_turn_is_sent_once_all_before_it_was_answered_and_answered_in_order() {
        let told = Arc::new(Told::default());
        let lane = Lane::All(told.clone());
        let answers = lane.ask_in_turn(&pipeline(&["A", "B", "C", "D"]), &[1, 3]).await.unwrap();
        assert_eq!(answers, ["A", "B", "C", "D"].map(|name| Value::SimpleString(name.to_owned())));
        assert_eq!(*told.sent.lock(), [vec!["A"], vec!["B", "C"], vec!["D"]]);
    }

    #[tokio::test]
    async fn what_comes_in_turn_is_not_sent_where_what_was_before_it_failed() {
        let told = Arc::new(Told { refuses: "B", ..Told::default() });
        let lane = Lane::All(told.clone());
        assert!(lane.ask_in_turn(&pipeline(&["A", "B", "C"]), &[2]).await.is_err());
        assert_eq!(*told.sent.lock(), [["A", "B"]]);
    }

    #[tokio::test]
    async fn the_time_of_each_answer_is_that_of_where_it_came_from() {
        let lane = Lane::All(Arc::new(Told::default()));
        let (clocks, answers) = lane.ask_timed(&mut pipeline(&["TIME", "A", "B"])).await.unwrap();
        assert_eq!(answers.len(), 2);
        assert_eq!([0, 1].map(|place| clocks.at(place).unwrap().as_micros()), [0, 1]);
        assert!(clocks.at(2).is_err());
    }
}
