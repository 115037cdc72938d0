//! A timer that outlives its request: one serves all requests of a connection.
//!
//! To set a timer and to take it back costs more than the rest of the waiting, and nearly every answer comes in time. So
//! it is left running; when it rings for an earlier request it is set to what the present one is allowed.

use std::pin::Pin;
use std::task::Context;

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of a connection; unset until it is first asked.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Whether the deadline has come. The task is woken when it may have. A deadline may move on between two questions,
    /// and never back.
    pub(super) fn is_due(&mut self, context: &mut Context<'_>, deadline: impl Fn() -> Instant) -> bool {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline())));
        while sleep.as_mut().poll(context).is_ready() {
            let deadline = deadline();
            if deadline <= Instant::now() {
                return true;
            }
            sleep.as_mut().reset(deadline);
        }
        false
    }
}
