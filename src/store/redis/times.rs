//! Until when what is kept of a session is kept.

use super::super::REASON_KEPT;
use crate::session::{IdleLimit, SessionRecord, StoreTime};

/// By how much a record outlives its touch deadline.
pub(super) const KEPT_MILLIS: u64 = 3_600_000;
const _: () = assert!(KEPT_MILLIS as u128 == REASON_KEPT.as_millis());

/// The touch deadline of a session that was just made: not capped by the absolute deadline, which is compared by
/// itself.
pub(super) fn first_touch_deadline(record: &SessionRecord) -> StoreTime {
    record.idle.map_or(record.deadline, |idle: IdleLimit| idle.deadline_of_use_at(record.created))
}

/// Until when the reason of an end on purpose is kept, in milliseconds.
pub(super) fn kept_until(record: &SessionRecord) -> u64 {
    expires(record.deadline)
}

/// The same by the absolute deadline (ms).
pub(super) const fn kept_after(deadline: u64) -> u64 {
    deadline.saturating_add(KEPT_MILLIS)
}

/// When the record of this touch deadline expires, in milliseconds.
pub(super) fn expires(touch_deadline: StoreTime) -> u64 {
    touch_deadline.after(REASON_KEPT).as_millis_rounded_up()
}
