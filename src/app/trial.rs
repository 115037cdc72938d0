//! Tries a store by using it: a throw-away session is made, read, used and ended.
//!
//! It leaves nothing behind that does not expire by itself within minutes, and must never touch a session of anybody.

use std::sync::Arc;
use std::time::Duration;

use super::error::StartError;
use super::open::{Opened, open_store};
use crate::clock::SystemClock;
use crate::config::{StoreConfig, StoreKind};
use crate::entropy::SystemEntropy;
use crate::session::{By, EndReason, Principal, SessionToken, Standing, TenantId, UserAgent, UserId};
use crate::store::embedded::OpenErrorKind;
use crate::store::observe::Unobserved;
use crate::store::{Condition, Creation, NewSession, SessionStore, Touch, Unavailable};

/// What a store is good for, seen by using it.
#[derive(Debug, Default)]
pub struct StoreTrial {
    /// What was done.
    pub done: String,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

/// Whose the session is: nobody's.
const TENANT: &str = "session-gateway-check";
const USER: &str = "check";
/// How long the session lives that a trial makes, should it not come to its end.
const TRIAL_LIFETIME: Duration = Duration::from_secs(60);

/// Makes a session in the store of a configuration, reads, uses and ends it, for `check --connect`. An embedded store is
/// not made, and one that is open in a gateway is left alone.
///
/// # Errors
/// Why it cannot be used.
pub fn try_store(config: &StoreConfig) -> Result<StoreTrial, StartError> {
    if let StoreKind::Embedded { path } = &config.kind
        && !path.exists()
    {
        return Ok(StoreTrial { done: String::from("will be made at the start"), warnings: Vec::new() });
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let opened = open_store(config, Arc::new(SystemClock), Arc::new(Unobserved), None).await;
        let Opened { store, redis, .. } = match opened {
            Err(StartError::Embedded(error)) if matches!(error.kind, OpenErrorKind::InUse) => {
                let warnings = vec![String::from("is open in a gateway that runs, and was not tried")];
                return Ok(StoreTrial { done: String::from("is there"), warnings });
            }
            opened => opened?,
        };
        let mut warnings = match store.check().await? {
            Condition::Good => Vec::new(),
            Condition::GoodBut(cause) => vec![cause],
            // Nobody could log in.
            Condition::TakesNoSessions(cause) => return Err(Unavailable::because(cause).into()),
        };
        warnings.extend(redis.iter().flat_map(|redis| redis.warnings()));
        use_a_session(&*store).await?;
        let mut done = String::from("connected; a session was made, read, used and ended");
        if let Some(redis) = redis
            && let Some(survey) = redis.survey().await
        {
            if let Some(refused) = survey.refused {
                return Err(Unavailable::because(refused).into());
            }
            done = format!("{done}; {}", survey.seen);
            warnings.extend(survey.warnings);
        }
        Ok(StoreTrial { done, warnings })
    })
}

async fn use_a_session(store: &dyn SessionStore) -> Result<(), StartError> {
    let wrong = |what: &str| StartError::from(Unavailable::because(what));
    let token = SessionToken::generate(&SystemEntropy)?;
    let id = token.id();
    let unnamed = |_| wrong("a trial's own name cannot be one");
    let new = NewSession {
        id,
        principal: Principal {
            tenant: TenantId::parse(TENANT).map_err(unnamed)?,
            user: UserId::parse(USER).map_err(unnamed)?,
            role: None,
        },
        candidates: Vec::new(),
        remembered: false,
        idle: None,
        absolute: TRIAL_LIFETIME,
        address: None,
        user_agent: UserAgent::of(None),
        began: store.now().await?,
        limit: None,
        replaces: None,
        sealed_token: None,
    };
    let Creation::Stored { record, .. } = store.create(new).await? else {
        return Err(wrong("a session was refused"));
    };
    let Standing::Live(_) = store.read(id).await? else { return Err(wrong("a session that was made is not there")) };
    let touch = Touch { id, deadline: record.deadline };
    store.touch(&[touch]).await?;
    if !store.end(id, &record, EndReason::Revoked, &By::Gateway).await? {
        return Err(wrong("a session that was made could not be ended"));
    }
    match store.read(id).await? {
        Standing::Live(_) => Err(wrong("a session that was ended is live")),
        _ => Ok(()),
    }
}
