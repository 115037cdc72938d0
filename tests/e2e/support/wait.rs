//! Waiting for what another process does. A condition is asked again and again; nothing waits a fixed time for it.

use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// Asks until there is an answer; `None` after `limit`.
pub fn poll<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = ask() {
            return Some(found);
        }
        if begin.elapsed() > limit {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks until there is an answer; fails after ten seconds, saying what was awaited.
pub fn wait_until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    poll(PATIENCE, ask).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Lets real time pass. Only for what the store's own clock decides: no test clock reaches into another process.
pub fn let_pass(time: Duration) {
    std::thread::sleep(time);
}
