//! What the app's pages report of themselves. Address, user agent and time are the gateway's; the rest is whatever their client
//! says, and nothing goes by it.

use std::borrow::Cow;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::body::AnswerBody;
use super::super::exchange::Exchange;
use super::super::failure::Failure;
use super::super::forward::Cleared;
use super::super::respond::json;
use super::super::services::Gateway;
use super::asker::Asker;
use super::said::{self, LARGEST_BODY, is_of_type};
use crate::session::UserAgent;
use crate::store::activities::Activity;
use crate::watch::OF_A_BATCH;

/// The largest body of a batch.
const LARGEST_BATCH: usize = 64 * 1024;
/// The most reports of a batch.
const MOST_OF_A_BATCH: usize = 100;
/// The longest word that says what happened.
const LONGEST_ACTION: usize = 64;
/// The largest details that are kept, as JSON.
const LARGEST_DETAILS: usize = 1024;

/// What is said to have happened. What else a front end says, a time of its own say, is not read.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow, default)]
    details: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    activities: Vec<Said<'a>>,
}

#[derive(Serialize)]
struct Accepted {
    accepted: usize,
}

/// One report.
pub(super) async fn one(
    gateway: &Gateway,
    exchange: &mut Exchange,
    asker: &Asker<'_>,
    cleared: &mut Cleared,
) -> Result<Response<AnswerBody>, Failure> {
    may_report(gateway, asker, 1)?;
    let text = said::text(gateway, exchange, cleared, LARGEST_BODY).await?;
    let said: Said<'_> = said::parsed(&text)?;
    if !is_action(&said.action) {
        return Err(Failure::Misunderstood("The action is one word, as PAGE_VISIBILITY."));
    }
    accept(gateway, exchange, asker, vec![said])
}

/// Up to a hundred.
pub(super) async fn batch(
    gateway: &Gateway,
    exchange: &mut Exchange,
    asker: &Asker<'_>,
    cleared: &mut Cleared,
) -> Result<Response<AnswerBody>, Failure> {
    may_report(gateway, asker, OF_A_BATCH)?;
    let text = if is_of_type(&cleared.headers, "text/plain") {
        // What a page says last as it goes (`sendBeacon`) is sent as text: nothing else goes without being asked for. That
        // no other site's page sends it is seen to by the cross-origin rule, as with each call here.
        said::whole(gateway, exchange, cleared, LARGEST_BATCH).await?
    } else {
        said::text(gateway, exchange, cleared, LARGEST_BATCH).await?
    };
    let Batch { mut activities } = said::parsed(&text)?;
    if activities.len() > MOST_OF_A_BATCH {
        return Err(Failure::Misunderstood("There are more than 100 activities in it."));
    }
    activities.retain(|said| is_action(&said.action));
    accept(gateway, exchange, asker, activities)
}

fn may_report(gateway: &Gateway, asker: &Asker<'_>, weight: u32) -> Result<(), Failure> {
    gateway.watch().may_report(asker.live.id, weight).map_err(|seconds| Failure::TooManyCalls { seconds })
}

fn is_action(word: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    (1..=LONGEST_ACTION).contains(&word.len()) && word.bytes().all(is_plain)
}

fn accept(
    gateway: &Gateway,
    exchange: &Exchange,
    asker: &Asker<'_>,
    said: Vec<Said<'_>>,
) -> Result<Response<AnswerBody>, Failure> {
    let agent = UserAgent::of(exchange.user_agent.as_ref().map(http::HeaderValue::as_bytes));
    let principal = &asker.principal;
    let activity = |said: Said<'_>| Activity {
        session: asker.live.id.to_string(),
        user: principal.user.as_str().to_owned(),
        user_kind: principal.user.kind().map(str::to_owned),
        at: gateway.clock().wall().as_micros(),
        address: exchange.client.get().to_string(),
        agent: agent.summary.as_str().to_owned(),
        action: said.action.into_owned(),
        details: said
            .details
            .filter(|details| details.get().len() <= LARGEST_DETAILS)
            .and_then(|details| serde_json::from_str(details.get()).ok()),
    };
    let accepted = said.len();
    gateway.watch().reported(&principal.tenant, said.into_iter().map(activity));
    Ok(json(StatusCode::ACCEPTED, &Accepted { accepted }))
}
