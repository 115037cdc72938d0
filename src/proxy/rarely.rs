//! Warnings that would otherwise be written once a request.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Monotonic;

/// How often one is written.
const PAUSE: Duration = Duration::from_secs(60);

/// When a warning was written last.
#[derive(Debug, Default)]
pub(super) struct Rarely(Mutex<Option<Monotonic>>);

impl Rarely {
    /// Whether it is to be written now; then it is not for a minute.
    pub(super) fn is_due(&self, now: Monotonic) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|last| now.since(last) >= PAUSE);
        if due {
            *last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_written_at_once_and_then_once_a_minute() {
        let rarely = Rarely::default();
        let at = |seconds: u64| Monotonic::from_micros(seconds * 1_000_000);
        let due: Vec<u64> = (0..200).filter(|second| rarely.is_due(at(*second))).collect();
        assert_eq!(due, [0, 60, 120, 180]);
    }
}
