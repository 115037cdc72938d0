//! What came before what: logins and revocations in one order, whatever the server's clock does.
//!
//! Each beginning of a login and each revocation is a moment of it, and raises the last one. It follows the server's clock
//! for as long as that goes on, so that what a server loses of it is made up for by time alone; what came back with older
//! data is raised at once (see `replay`).

use redis::{Cmd, Value};

use super::answers::exactly;
use super::commands::eval;
use super::fault::{Fault, text};
use super::keys::Keys;
use super::lane::Lane;
use super::scripts;
use crate::session::StoreTime;

/// A moment for a login to begin at.
pub(super) async fn begin(lane: &Lane, keys: &Keys) -> Result<StoreTime, Fault> {
    ask(lane, next(keys, 0, StoreTime::from_micros(0))).await
}

/// A moment for a revocation: after every login that has begun.
pub(super) async fn revoke(lane: &Lane, keys: &Keys) -> Result<StoreTime, Fault> {
    ask(lane, next(keys, 1, StoreTime::from_micros(0))).await
}

/// Nothing that begins from now on is before that moment.
pub(super) async fn reach(lane: &Lane, keys: &Keys, least: StoreTime) -> Result<(), Fault> {
    ask(lane, next(keys, 0, least)).await.map(drop)
}

fn next(keys: &Keys, by: u64, least: StoreTime) -> Cmd {
    let mut next = eval(scripts::ORDER, &[keys.order()]);
    next.arg(by).arg(least.as_micros());
    next
}

async fn ask(lane: &Lane, next: Cmd) -> Result<StoreTime, Fault> {
    let mut pipeline = redis::pipe();
    pipeline.add_command(next);
    let [moment] = exactly(lane.ask(&pipeline).await?)?;
    read(moment)?.ok_or_else(|| Fault::garbled("no moment in the order"))
}

/// The last moment, where there was one. What cannot be read is none: the next one mends it.
pub(super) fn read(value: Value) -> Result<Option<StoreTime>, Fault> {
    let text = text(value)?.and_then(|text| String::from_utf8(text).ok());
    Ok(text.and_then(|text| text.parse().ok()).map(StoreTime::from_micros))
}
