//! Commands that more than one call of the store sends.

use redis::Cmd;

use super::keys::Keys;
use super::scripts;
use super::slot::Slot;
use super::times::kept_after;
use crate::session::{End, SessionId, StoreTime, TenantId};

/// A script with its keys, all of which a cluster has in one slot; arguments follow.
pub(super) fn eval(script: &str, keys: &[String]) -> Cmd {
    debug_assert!(
        keys.windows(2)
            .all(|two| matches!(two, [one, other] if Slot::of(one.as_bytes()) == Slot::of(other.as_bytes()))),
        "keys of several slots: {keys:?}"
    );
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(keys.len()).arg(keys);
    command
}

/// The end of a session, or of a token alone, as it was written down before.
pub(super) fn end_as_written(keys: &Keys, id: &SessionId, text: &str, deadline: u64) -> Cmd {
    let of_a_token = End::decode(text.as_bytes()).is_some_and(|end| !end.is_of_the_line());
    let script = if of_a_token { scripts::NOTE } else { scripts::END };
    let mut end = eval(script, &[keys.ended(id)]);
    end.arg(text).arg(kept_after(deadline.div_ceil(1000)));
    end
}

/// Makes a tenant known until a time, as a score.
pub(super) fn know(keys: &Keys, tenant: &TenantId, until: &str, now: StoreTime) -> Cmd {
    let mut know = eval(scripts::KNOW, &[keys.known_tenants(), keys.names_of_tenants()]);
    know.arg(tenant.kept()).arg(until).arg(now.as_micros() / 1000);
    know
}
