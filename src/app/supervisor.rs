//! What the supervisor that started the process (systemd, by `NOTIFY_SOCKET`) is told of it: that it serves, reloads,
//! stops, and lives. Without one there is nobody to tell.

use std::future::pending;

use sd_notify::NotifyState;

/// It serves, as it did before a reload.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It reads its configuration again.
pub(super) fn reloading() {
    // Without the moment, which only newer supervisors ask for, it is told all the same.
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// It goes: it takes no offence at what takes its time now.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says again and again that the process lives, where it is asked to (`WatchdogSec`): a process whose tasks do not run any
/// more says nothing, and is started anew.
pub(super) async fn say_that_it_lives() {
    let Some(limit) = sd_notify::watchdog_enabled() else { return pending().await };
    loop {
        tell(&[NotifyState::Watchdog]);
        // More often than it has to be: a moment of load is no death.
        tokio::time::sleep(limit / 3).await;
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the supervisor could not be told");
    }
}
