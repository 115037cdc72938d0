//! `GET /v1/locks` and `DELETE /v1/locks/{id}`: logins that are refused unasked, and the end of that.

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::answer::Answer;
use super::auth::{Caller, Operate, Read};
use super::change::{Change, Target};
use super::input::{LockPath, Query, ReasonParameter, kind, limit, words};
use super::list_sessions::bad_cursor;
use super::problem::{Problem, ProblemBody};
use super::state::AdminState;
use crate::monitor::{Lock, LockId, normalised};
use crate::store::monitor::{LockCursor, MOST_LOCKS};
use crate::told::{Origin, Told};

/// The longest name of an account, in characters.
const LONGEST_NAME: usize = 1000;

#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Parameters {
    /// Of this account: its name, as somebody types it to log in
    #[param(min_length = 1, max_length = 1000)]
    account: Option<String>,
    /// The kind of that login (`login.kind`), where there are several
    #[param(min_length = 1, max_length = 128, pattern = r"^[!-+\--~]+$")]
    kind: Option<String>,
    /// Where the page begins: `next_cursor` of the one before
    #[param(max_length = 43, pattern = r"^[0-9]{1,20}_[A-Za-z0-9_-]{22}$")]
    cursor: Option<String>,
    /// The most items of the page
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Option<String>,
}

/// A page of locks
#[derive(Serialize, ToSchema)]
pub(super) struct Locks {
    /// The one that ends first before the others
    items: Vec<LoginLock>,
    /// Where the next page begins; null: there is none
    #[schema(required)]
    next_cursor: Option<String>,
}

/// A lock on logins
#[derive(Serialize, ToSchema)]
pub(super) struct LoginLock {
    /// Its name: the same whenever the same is locked
    id: String,
    /// What is locked: `account`, `account+network`, `account+device` or `network`
    by: &'static str,
    /// What stands for the account: an HMAC of its name
    #[schema(required)]
    account: Option<String>,
    /// The network
    #[schema(required)]
    network: Option<String>,
    /// Whether it is only observed: nobody is refused
    observed: bool,
    /// When it began
    #[schema(format = DateTime)]
    since_at: String,
    /// When it ends
    #[schema(format = DateTime)]
    until_at: String,
}

impl From<Lock> for LoginLock {
    fn from(lock: Lock) -> Self {
        Self {
            id: lock.id().to_string(),
            by: lock.note.by.as_str(),
            since_at: lock.since().rfc3339(),
            until_at: lock.until.rfc3339(),
            account: lock.note.account,
            network: lock.note.network,
            observed: lock.note.observed,
        }
    }
}

/// Lists the locks on logins that are in force
///
/// At most 10,000: of more those that end last.
#[utoipa::path(
    get, path = "/v1/locks", tag = "monitoring", security(("token" = ["read"])),
    params(Parameters), responses((status = 200, description = "A page", body = Locks)),
)]
pub(super) async fn list_locks(
    _: Caller<Read>,
    State(state): State<AdminState>,
    Query(query): Query<Parameters>,
) -> Result<Answer<Locks>, Problem> {
    let watch = &state.services.commons.watch;
    let kind = kind(query.kind.as_deref())?;
    let account = match &query.account {
        None => None,
        Some(name) => {
            let name = normalised(name).filter(|_| name.chars().count() <= LONGEST_NAME).ok_or_else(|| {
                Problem::bad_request("account: write its name, as somebody types it to log in; at most 1000 characters")
            })?;
            Some(watch.account(kind.as_ref().map(crate::session::UserKind::as_str), &name).to_string())
        }
    };
    let after: Option<LockCursor> = match &query.cursor {
        Some(text) => Some(text.parse().map_err(|_| bad_cursor())?),
        None => None,
    };
    let limit = limit(query.limit.as_deref())?;
    let mut locks = watch.guard().locks(after.as_ref(), MOST_LOCKS).await?;
    locks.retain(|lock| account.is_none() || lock.note.account == account);
    let more = locks.len() > limit;
    locks.truncate(limit);
    let next_cursor = locks.last().filter(|_| more).map(|last| LockCursor::of(last).to_string());
    Ok(Answer(Locks { items: locks.into_iter().map(LoginLock::from).collect(), next_cursor }))
}

/// That a lock was ended
#[derive(Serialize, ToSchema)]
pub(super) struct Unlocked {
    /// Always 1
    unlocked: u64,
}

/// Ends a lock on logins
///
/// What led to it counts no more.
#[utoipa::path(
    delete, path = "/v1/locks/{id}", tag = "monitoring", security(("token" = ["operate"])),
    params(("id" = String, Path, description = "The lock's id"), ReasonParameter),
    responses(
        (status = 200, description = "It was ended", body = Unlocked),
        (status = 404, description = "There is no lock of this id", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn end_lock(
    caller: Caller<Operate>,
    State(state): State<AdminState>,
    LockPath(id): LockPath,
    Query(query): Query<ReasonParameter>,
) -> Result<Answer<Unlocked>, Problem> {
    let words = words(query.reason.as_deref())?;
    let change = Change::new(state, caller.operator(), "end_lock", words, Target::default());
    change.run(move |state, origin| unlock(state, origin, id)).await.map(Answer)
}

async fn unlock(state: AdminState, origin: Origin, id: LockId) -> Result<Unlocked, Problem> {
    let watch = &state.services.commons.watch;
    let lock = watch.guard().unlock(&id).await?.ok_or(Problem::NO_LOCK)?;
    watch.tell(&origin, &Told::LoginUnlocked(Box::new(lock)));
    Ok(Unlocked { unlocked: 1 })
}
