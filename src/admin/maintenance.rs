//! `GET /v1/maintenance` and `PUT /v1/maintenance`: whether the site is being worked on, and what clients are told.

use std::time::Duration;

use axum::extract::State;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Operate, Read};
use super::change::{Change, Target};
use super::input::{Json, NoParameters, Query, words};
use super::problem::Problem;
use super::state::AdminState;
use crate::config::{duration, show_duration};
use crate::maintenance::Maintenance;
use crate::session::Words;

/// The most networks that are not held up.
const MOST_NETWORKS: usize = 100;
/// The longest time that clients are told to wait, and the usual one.
const LONGEST_WAIT: Duration = Duration::from_secs(7 * 86_400);
const USUAL_WAIT: Duration = Duration::from_secs(300);

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SetMaintenance)]
pub(super) struct Body {
    on: bool,
    /// What people are told, instead of the usual sentence: one line
    #[schema(max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    message: Option<String>,
    /// When clients are to come again, as in `30s`, `2h` or `1h30m`: at most `7d`
    #[schema(default = "5m", max_length = 40, pattern = r"^[0-9a-z]+$")]
    retry_after: Option<String>,
    /// Networks and addresses that are served all the same
    #[schema(max_items = 100)]
    allow: Option<Vec<String>>,
    /// Why, in the operator's words: one line
    #[schema(max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: Option<String>,
}

/// The maintenance mode
#[derive(Serialize, ToSchema)]
pub(super) struct Shown {
    on: bool,
    /// What people are told, where that is not the usual sentence
    message: Option<String>,
    /// When clients are to come again
    retry_after: Option<String>,
    /// Networks that are served all the same
    allow: Vec<String>,
}

impl From<Option<&Maintenance>> for Shown {
    fn from(known: Option<&Maintenance>) -> Self {
        Self {
            on: known.is_some(),
            message: known.and_then(|known| known.message.clone()),
            retry_after: known.map(|known| show_duration(Duration::from_secs(known.retry_after))),
            allow: known.map_or_else(Vec::new, |known| known.allow.iter().map(ToString::to_string).collect()),
        }
    }
}

/// Shows the maintenance mode
#[utoipa::path(
    get, path = "/v1/maintenance", tag = "maintenance", security(("token" = ["read"])),
    responses((status = 200, description = "Whether it holds, and what clients are told", body = Shown)),
)]
pub(super) async fn show_maintenance(
    _: Caller<Read>,
    State(state): State<AdminState>,
    Query(NoParameters {}): Query<NoParameters>,
) -> Result<Answer<Shown>, Problem> {
    Ok(Answer(Shown::from(state.services.commons.maintenance.ask().await?.as_deref())))
}

/// Turns the maintenance mode on or off
///
/// While it is on, all gateways answer every request with 503 `maintenance`, but for health and the networks that are
/// allowed. Sessions live on within their limits. What is open stays open.
#[utoipa::path(
    put, path = "/v1/maintenance", tag = "maintenance", security(("token" = ["operate"])),
    request_body = Body,
    responses((status = 200, description = "It is so: here at once, at the other gateways within a second", body = Shown)),
)]
pub(super) async fn set_maintenance(
    caller: Caller<Operate>,
    State(state): State<AdminState>,
    Query(NoParameters {}): Query<NoParameters>,
    Json(body): Json<Body>,
) -> Result<Answer<Shown>, Problem> {
    let words = words(body.reason.as_deref())?;
    let wanted = wanted(&body)?;
    let change = Change::new(state, caller.operator(), "set_maintenance", words, Target::default());
    let work = move |state: AdminState, _| async move {
        state.services.commons.maintenance.set(wanted.clone()).await?;
        Ok(Shown::from(wanted.as_ref()))
    };
    change.run(work).await.map(Answer)
}

/// What is to hold.
fn wanted(body: &Body) -> Result<Option<Maintenance>, Problem> {
    let message = body.message.as_deref().filter(|message| !message.is_empty());
    if message.is_some_and(|message| Words::parse(message).is_none()) {
        let detail = "message: write one line of at most 200 characters, without control characters";
        return Err(Problem::bad_request(detail));
    }
    let retry_after = match &body.retry_after {
        None => USUAL_WAIT,
        Some(text) => duration(text).map_err(|error| Problem::bad_request(format!("retry_after: {error}")))?,
    };
    if !(Duration::from_secs(1)..=LONGEST_WAIT).contains(&retry_after) {
        return Err(Problem::bad_request("retry_after: choose from \"1s\" to \"7d\""));
    }
    let allow = body.allow.as_deref().unwrap_or_default();
    if allow.len() > MOST_NETWORKS {
        return Err(Problem::bad_request(format!("allow: name at most {MOST_NETWORKS} networks")));
    }
    let allow = allow.iter().map(|text| network(text)).collect::<Result<_, _>>()?;
    let message = message.map(str::to_owned);
    Ok(body.on.then_some(Maintenance { message, retry_after: retry_after.as_secs(), allow }))
}

fn network(text: &str) -> Result<IpNet, Problem> {
    let address = text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().ok().or(address.ok()).map(|network| network.trunc()).ok_or_else(|| {
        Problem::bad_request(format!("allow: `{text}` is neither a network (10.0.0.0/8) nor an address (10.1.2.3)"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(json: &str) -> Body {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
    }

    #[test]
    fn what_is_wanted_is_understood_or_refused() {
        let on =
            wanted(&body(r#"{"on":true,"message":"Back at ten","retry_after":"2h","allow":["10.1.2.3/8","::1"]}"#));
        let on = on.expect("understood").expect("on");
        assert_eq!((on.message.as_deref(), on.retry_after), (Some("Back at ten"), 7200));
        assert_eq!(on.allow.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
        let plain = wanted(&body(r#"{"on":true,"message":""}"#)).expect("understood").expect("on");
        assert_eq!((plain.message, plain.retry_after, plain.allow.len()), (None, 300, 0));
        assert_eq!(wanted(&body(r#"{"on":false}"#)).expect("understood"), None);
        for refused in [
            r#"{"on":true,"message":"a\nb"}"#,
            r#"{"on":true,"retry_after":"2"}"#,
            r#"{"on":true,"retry_after":"0s"}"#,
            r#"{"on":true,"retry_after":"8d"}"#,
            r#"{"on":true,"allow":["10.0.0.0/33"]}"#,
            r#"{"on":true,"allow":["everybody"]}"#,
        ] {
            assert!(wanted(&body(refused)).is_err(), "{refused}");
        }
        assert!(serde_json::from_str::<Body>(r#"{"on":"yes"}"#).is_err());
    }
}
