//! The connections to one server, each shared by all callers.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Pipeline, Value};

use super::fault::{Fault, answers, number, text};
use crate::clock::Monotonic;
use crate::store::address::Node;

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

    /// Which server it is, with which data; `None` where it does not say.
    pub(super) fn server(&self) -> Option<String> {
        let identity = self.identity.as_ref()?;
        Some(format!("{identity} {}", String::from_utf8_lossy(&self.birth)))
    }
}

/// One connection, shared by all callers.
#[derive(Clone)]
pub(super) struct Lane(MultiplexedConnection);

impl Lane {
    pub(super) const fn over(connection: MultiplexedConnection) -> Self {
        Self(connection)
    }

    /// Sends all commands and takes all answers; the first error of any is the error of all.
    pub(super) async fn ask(&self, pipeline: &Pipeline) -> Result<Vec<Value>, Fault> {
        let mut connection = self.0.clone();
        let value = pipeline.query_async::<Value>(&mut connection).await?;
        answers(value, pipeline.len())
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
        self.ask(pipeline.ignore_errors()).await
    }
}
