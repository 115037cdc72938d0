//! About which values of followed cookies the backend was asked already: once each, unless an answer may have changed whose
//! they are.
//!
//! Answers that set the same value at the same time wait for the first of them. Kept are those that came to nothing, so that
//! a backend which sets its cookie anew with every answer is asked once; what made or ended a session is never asked about
//! again, for the session beside which it was set is another one by then. Bounded: what is displaced is asked about again.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

/// So many values are kept.
const MOST: usize = 1 << 16;

type Value = Arc<Mutex<State>>;

/// What is known of a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing.
    #[default]
    Unasked,
    /// It came to nothing when it was asked about last.
    CameToNothing,
    /// It made or ended a session: the one beside which it was set is over.
    Settled,
}

/// The values that were asked about.
pub(super) struct AskedAbout(Cache<[u8; 16], Value>);

/// The turn to ask about a value.
pub(super) struct Turn<'a> {
    all: &'a AskedAbout,
    value: [u8; 16],
    state: OwnedMutexGuard<State>,
}

impl Default for AskedAbout {
    fn default() -> Self {
        Self(Cache::new(MOST))
    }
}

impl AskedAbout {
    /// The turn to ask about a value. `None` where that was settled, or where others have asked for so long; also where it
    /// came to nothing before, unless it is to be asked about `again`.
    pub(super) async fn turn(&self, value: [u8; 16], again: bool, patience: Duration) -> Option<Turn<'_>> {
        let made: Result<Value, std::convert::Infallible> = self.0.get_or_insert_with(&value, || Ok(Value::default()));
        let Ok(known) = made;
        let state = timeout(patience, known.lock_owned()).await.ok()?;
        match *state {
            State::Settled => None,
            State::CameToNothing if !again => None,
            State::CameToNothing | State::Unasked => Some(Turn { all: self, value, state }),
        }
    }
}

impl Turn<'_> {
    /// It came to nothing, and will again.
    pub(super) fn remember(mut self) {
        *self.state = State::CameToNothing;
    }

    /// It came to something: those that waited for it need not ask.
    pub(super) fn settle(mut self) {
        *self.state = State::Settled;
    }
}

impl Drop for Turn<'_> {
    /// Whoever comes later asks anew, unless it is remembered.
    fn drop(&mut self) {
        if *self.state != State::CameToNothing {
            self.all.0.remove(&self.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);
    const VALUE: [u8; 16] = [7; 16];

    #[tokio::test]
    async fn what_came_to_nothing_is_not_asked_again_and_what_came_to_something_is_by_those_that_come_later() {
        let asked = AskedAbout::default();
        asked.turn(VALUE, false, PATIENCE).await.expect("the first").settle();
        drop(asked.turn(VALUE, false, PATIENCE).await.expect("later"));
        asked.turn(VALUE, false, PATIENCE).await.expect("nothing was clear").remember();
        for _ in 0..3 {
            assert!(asked.turn(VALUE, false, PATIENCE).await.is_none());
        }
        assert!(asked.turn([8; 16], false, PATIENCE).await.is_some(), "another value");
        let again = asked.turn(VALUE, true, PATIENCE).await.expect("somebody else may have logged in");
        again.remember();
        assert!(asked.turn(VALUE, false, PATIENCE).await.is_none());
    }

    #[tokio::test]
    async fn those_that_come_at_the_same_time_wait_for_the_first_and_ask_only_if_it_was_unclear() {
        for (clear, again) in [(true, false), (true, true), (false, false)] {
            let asked = AskedAbout::default();
            let first = asked.turn(VALUE, again, PATIENCE).await.expect("the first");
            let mut waiting = std::pin::pin!(asked.turn(VALUE, again, PATIENCE));
            assert!(futures_util::poll!(waiting.as_mut()).is_pending());
            if clear {
                first.settle();
            } else {
                drop(first);
            }
            assert_eq!(waiting.await.is_none(), clear);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let asked = AskedAbout::default();
        let _first = asked.turn(VALUE, false, PATIENCE).await.expect("the first");
        assert!(asked.turn(VALUE, false, PATIENCE).await.is_none());
    }
}
