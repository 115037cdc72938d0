//! The user's own sessions, as their page shows them.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::super::body::AnswerBody;
use super::super::failure::Failure;
use super::super::forward::Cleared;
use super::super::respond::json;
use super::super::services::Gateway;
use super::asker::Asker;
use super::said::query;
use crate::session::StoreTime;
use crate::store::SessionsOf;

/// The sessions of a page of the store's list, and the most pages: nobody has more to look at.
const PAGE: usize = 100;
const MOST_PAGES: usize = 5;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {}

#[derive(Serialize)]
struct Sessions {
    sessions: Vec<Session>,
}

#[derive(Serialize)]
struct Session {
    id: String,
    created_at: String,
    last_seen_at: Option<String>,
    /// Where its login came from, as far as a database knows.
    place: Option<String>,
    /// A few words about the program that logged in.
    device: Option<String>,
    /// Whether it is the one that asks.
    current: bool,
}

pub(super) async fn list(
    gateway: &Gateway,
    asker: &Asker<'_>,
    cleared: &Cleared,
) -> Result<Response<AnswerBody>, Failure> {
    let Parameters {} = query(cleared)?;
    let whose = asker.own();
    let of = SessionsOf::User { tenant: whose.tenant.clone(), user: whose.user.clone() };
    let own = asker.live.record.decided_by(asker.live.id);
    let (mut sessions, mut after) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let page = gateway.store().sessions(&of, after.as_ref(), PAGE).await.map_err(Failure::Store)?;
        sessions.extend(page.items.into_iter().map(|view| {
            let agent = view.record.user_agent.summary.as_str();
            let place = view.record.address.and_then(|address| gateway.watch().geo().locate(address));
            Session {
                id: view.id.to_string(),
                created_at: view.record.created.rfc3339(),
                last_seen_at: view.last_seen.map(StoreTime::rfc3339),
                place: place.map(|place| place.name()),
                device: (!agent.is_empty()).then(|| agent.to_owned()),
                current: view.record.decided_by(view.id) == own,
            }
        }));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(json(StatusCode::OK, &Sessions { sessions }))
}
