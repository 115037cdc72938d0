//! A session as the tests of several rooms have it.

use std::sync::Arc;

use super::{Principal, SessionId, SessionRecord, StoreTime, TenantId, UserId};

/// A session's id by a number.
pub(crate) fn id(number: u64) -> SessionId {
    SessionId::parse(format!("{number:022}").as_bytes()).expect("22 characters of base64url")
}

/// The record of a session of acme's user 7, without an idle limit or anything else: as a token says it of itself.
pub(crate) fn record(created: StoreTime, deadline: StoreTime) -> SessionRecord {
    let (tenant, user) = (TenantId::parse("acme").expect("visible ASCII"), UserId::parse("7").expect("visible ASCII"));
    SessionRecord::of_token(Arc::new(Principal { tenant, user, role: None }), created, deadline)
}
