//! Sessions that were looked at a moment ago: whoever shows the same one again and again has it looked at once.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::Monotonic;
use crate::session::SessionId;

/// How long one counts as looked at.
const A_WHILE: Duration = Duration::from_secs(60);
/// So many are remembered; of one more it is as if it had been looked at.
const MOST: usize = 4096;

/// Sessions that were looked at lately.
#[derive(Default)]
pub(super) struct Lately(HashMap<SessionId, Monotonic>);

impl Lately {
    /// Whether it was not, and is from now on.
    pub(super) fn is_new(&mut self, session: SessionId, now: Monotonic) -> bool {
        let is_recent = |at: &Monotonic| now.since(*at) < A_WHILE;
        if self.0.get(&session).is_some_and(is_recent) {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, at| is_recent(at));
        }
        let has_room = self.0.len() < MOST;
        if has_room {
            self.0.insert(session, now);
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::session::SessionToken;

    #[test]
    fn a_session_is_looked_at_once_a_minute_and_not_more_of_them_than_there_is_room_for() {
        let id = || SessionToken::generate(&SystemEntropy).expect("entropy").id();
        let at = |seconds: u64| Monotonic::from_micros(seconds * 1_000_000);
        let (mut lately, one) = (Lately::default(), id());
        let looked: Vec<bool> = [0, 59, 60, 61].map(|second| lately.is_new(one, at(second))).into();
        assert_eq!(looked, [true, false, true, false]);
        let new = (0..10_000).filter(|_| lately.is_new(id(), at(62))).count();
        assert_eq!(new, MOST - 1);
        assert!(lately.is_new(id(), at(122)), "a minute later there is room");
    }
}
