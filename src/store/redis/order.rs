//! What came before what: logins and revocations in one order, whatever the servers' clocks do.
//!
//! Each beginning of a login and each revocation is a moment of it, and raises the last one. It follows the server's clock
//! for as long as that goes on, so that what a server loses of it is made up for by time alone; what came back with older
//! data is raised at once (see `replay`).
//!
//! On a cluster three keys keep it, of which two must answer, so that no one master stops the logins of all. Any two that a
//! revocation hears of have one of the two that a login reached, so that it is later than the login; and a revocation reaches
//! all that answer before it is acknowledged, so that the next login is later than it. One key is the same, with one of one.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use redis::{Cmd, Value};
use tokio::time::timeout;

use super::answers::exactly;
use super::commands::eval;
use super::fault::{Fault, text};
use super::keys::Keys;
use super::lane::Lane;
use super::scripts;
use crate::session::{Generation, StoreTime};

/// How much longer the other keys are waited for, once enough have answered.
const PATIENCE: Duration = Duration::from_millis(50);

/// A moment of a revocation.
pub(super) struct Moment {
    /// After every login that has begun.
    pub(super) at: StoreTime,
    /// What no key is before.
    everywhere: StoreTime,
}

/// A moment for a login to begin at.
pub(super) async fn begin(lane: &Lane, keys: &Keys) -> Result<StoreTime, Fault> {
    let orders = keys.orders();
    let mut moments = ask(lane, &orders, 0, StoreTime::from_micros(0)).await?;
    moments.sort_unstable_by(|one, other| other.cmp(one));
    // The latest that enough have reached for no revocation to miss it.
    moments.get(enough(&orders) - 1).copied().ok_or_else(no_moment)
}

/// A moment for a revocation.
pub(super) async fn revoke(lane: &Lane, keys: &Keys) -> Result<Moment, Fault> {
    let orders = keys.orders();
    let moments = ask(lane, &orders, 1, StoreTime::from_micros(0)).await?;
    let (first, last) = (moments.iter().min().copied(), moments.iter().max().copied());
    let all = moments.len() == orders.len();
    let everywhere = first.filter(|_| all).unwrap_or(StoreTime::from_micros(0));
    Ok(Moment { at: last.ok_or_else(no_moment)?, everywhere })
}

/// A revocation that was to be at a moment got this generation, which may be beyond it: no login from now on is before that.
pub(super) async fn has_come_to(
    lane: &Lane,
    keys: &Keys,
    moment: &Moment,
    generation: Generation,
) -> Result<(), Fault> {
    if generation.as_micros() <= moment.everywhere.as_micros() {
        return Ok(());
    }
    reach(lane, keys, StoreTime::from_micros(generation.as_micros())).await
}

/// Nothing that begins from now on is before that moment.
pub(super) async fn reach(lane: &Lane, keys: &Keys, least: StoreTime) -> Result<(), Fault> {
    ask(lane, &keys.orders(), 0, least).await.map(drop)
}

/// The same of some keys, by a server that has them.
pub(super) async fn reach_on(lane: &Lane, orders: impl Iterator<Item = String>, least: StoreTime) -> Result<(), Fault> {
    for order in orders {
        ask_one(lane, next(&order, 0, least)).await?;
    }
    Ok(())
}

/// How many keys must answer.
const fn enough(orders: &[String]) -> usize {
    orders.len() / 2 + 1
}

/// Asks all keys, and answers what enough of them say at least.
async fn ask(lane: &Lane, orders: &[String], by: u64, least: StoreTime) -> Result<Vec<StoreTime>, Fault> {
    let mut asked: FuturesUnordered<_> = orders.iter().map(|order| ask_one(lane, next(order, by, least))).collect();
    let (mut moments, mut fault) = (Vec::with_capacity(orders.len()), None);
    loop {
        let answer = if moments.len() < enough(orders) {
            asked.next().await
        } else {
            timeout(PATIENCE, asked.next()).await.ok().flatten()
        };
        match answer {
            Some(Ok(moment)) => moments.push(moment),
            Some(Err(other)) => fault = Some(other),
            None if moments.len() < enough(orders) => return Err(fault.unwrap_or_else(no_moment)),
            None => return Ok(moments),
        }
    }
}

fn next(order: &str, by: u64, least: StoreTime) -> Cmd {
    let mut next = eval(scripts::ORDER, &[order.to_owned()]);
    next.arg(by).arg(least.as_micros());
    next
}

async fn ask_one(lane: &Lane, next: Cmd) -> Result<StoreTime, Fault> {
    let mut pipeline = redis::pipe();
    pipeline.add_command(next);
    let [moment] = exactly(lane.ask(&pipeline).await?)?;
    read(moment)?.ok_or_else(no_moment)
}

fn no_moment() -> Fault {
    Fault::garbled("no moment in the order")
}

/// The last moment, where there was one. What cannot be read is none: the next one mends it.
pub(super) fn read(value: Value) -> Result<Option<StoreTime>, Fault> {
    let text = text(value)?.and_then(|text| String::from_utf8(text).ok());
    Ok(text.and_then(|text| text.parse().ok()).map(StoreTime::from_micros))
}
