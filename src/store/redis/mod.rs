//! Sessions in Redis: several gateways share one server and agree.
//!
//! Which key means what is in `docs/redis.md`. The rules that make it safe:
//!
//! - One key holds a session. Its time to live is the touch deadline and an hour, which nothing but a use before that
//!   deadline moves. So no touch, late or lost, revives a session.
//! - The end is a key of its own, written before the session's goes: it decides, and whoever wrote it counts it.
//! - What a login, a use and a logout do are commands and scripts of one key each.
//! - A pipeline is one server's order. What must come after something that another may have is sent in turn
//!   (`Lane::ask_in_turn`), or once that was answered.
//! - Time is the server's. Deadlines are absolute, so that latency neither lengthens nor shortens a session.
//! - An answer in a shape that was never written is an outage, never an absent session.

mod activities;
mod acts;
mod alerts;
mod answers;
mod asked;
mod audit;
mod ballot;
mod calls;
mod census;
mod chart;
mod cluster_survey;
mod commands;
mod connection;
mod contacts;
mod create;
mod discover;
mod electors;
mod end;
mod entry;
mod fault;
mod fence;
mod findings;
mod fitness;
mod guard;
mod hearing;
mod hold;
mod index;
mod kept;
mod keys;
mod known;
mod lane;
mod late;
mod listing;
mod look;
mod maintenance;
mod making;
mod masters;
mod membership;
mod opening;
mod order;
mod own_word;
mod places;
mod read;
mod replay;
mod replayed;
mod reports;
mod revoke;
mod route;
mod scripts;
mod sealed_token;
mod settings;
mod slot;
mod store;
mod survey;
mod tenant_findings;
mod times;
mod token;
mod topology;
mod touch;
mod tracked_master;
mod tracked_server;
mod tracker;
mod troubles;
mod unfinished;
mod vote;
mod walk;
mod word;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::look::Survey;
pub use self::settings::{RedisSettings, SharedWarn};
pub use self::store::{RedisStore, Unfit};

use self::commands::eval;
use self::connection::CALL_TIMEOUT;
use self::create::From;
use self::fitness::Missing;
use self::kept::Kept;
use self::lane::Lanes;
use self::making::Making;
use self::times::{KEPT_MILLIS, expires};
use super::journal::Entry;
use super::{
    Condition, Creation, Cursor, Known, KnownTenant, KnownToken, NewSession, Page, REASON_KEPT, Revoked, Said,
    SessionStore, SessionView, SessionsOf, StoreResult, TenantView, Touch, Unavailable, codec,
};
use crate::clock::Monotonic;
use crate::session::{
    By, End, EndReason, HoldWord, Principal, Revocation, SessionId, SessionRecord, Standing, StoreTime, TenantChange,
    TenantId, TenantStanding, TokenDenial, TokenStanding,
};

/// For a page of a listing, which may take many steps.
const LISTING_TIMEOUT: Duration = Duration::from_secs(5);

#[async_trait]
impl SessionStore for RedisStore {
    async fn now(&self) -> StoreResult<StoreTime> {
        let work = |lanes: Arc<Lanes>| async move { lanes.quick.now(self.keys()).await };
        self.link.call("now", CALL_TIMEOUT, work).await
    }

    async fn begin(&self) -> StoreResult<StoreTime> {
        let work = |lanes: Arc<Lanes>| async move { order::begin(&lanes.careful, self.keys()).await };
        self.link.call("begin", CALL_TIMEOUT, work).await
    }

    async fn create(&self, new: NewSession) -> StoreResult<Creation> {
        let work = |lanes: Arc<Lanes>| async move { self.create_on(&lanes, new, None).await };
        let creation = self.link.call("create", CALL_TIMEOUT, work).await;
        self.forget_displaced(&creation);
        creation
    }

    async fn rotate(
        &self,
        old: SessionId,
        old_record: &SessionRecord,
        new: NewSession,
        grace: Duration,
    ) -> StoreResult<Creation> {
        let id = new.id;
        let work = |lanes: Arc<Lanes>| async move {
            let from = From { id: old, record: old_record, grace };
            self.create_on(&lanes, new, Some(from)).await
        };
        let creation = self.link.call("rotate", CALL_TIMEOUT, work).await;
        self.forget(old);
        self.forget_displaced(&creation);
        if let Ok(Creation::Stored { record, .. }) = &creation
            && let Some(line) = &record.line
        {
            let end = End::replaced(id, line.until);
            self.keep_end(old, old_record, end, &By::User).await.complete(None);
        }
        creation
    }

    fn would_take(&self, id: SessionId) -> bool {
        self.link.lanes().is_some_and(|lanes| lanes.careful.has_server_of(&self.keys().record(&id)))
    }

    fn known(&self, id: SessionId, within: Duration) -> Option<Known> {
        let known = self.cache.as_ref()?.known(id, within)?;
        self.link.observer().looked_up(true);
        Some(known)
    }

    async fn read(&self, id: SessionId) -> StoreResult<Standing> {
        self.link.observer().looked_up(false);
        let work = |lanes: Arc<Lanes>| async move {
            let place = || self.keys().place(&self.keys().record(&id));
            let reading = self.cache.as_ref().and_then(|cache| cache.begin(id, place()));
            self.read_from(&lanes, id, reading).await
        };
        self.link.call("read", CALL_TIMEOUT, work).await
    }

    async fn touch(&self, touches: &[Touch]) -> StoreResult<Vec<bool>> {
        if touches.is_empty() {
            return Ok(Vec::new());
        }
        let work = |lanes: Arc<Lanes>| async move { self.touch_on(&lanes, touches).await };
        let Some(cache) = &self.cache else { return self.link.call("touch", CALL_TIMEOUT, work).await };
        let entries: Vec<_> = touches.iter().map(|touch| cache.touching(touch.id)).collect();
        let moved = self.link.call("touch", CALL_TIMEOUT, work).await?;
        for ((touch, entry), moved) in touches.iter().zip(entries).zip(&moved) {
            if *moved {
                entry.moved_to(touch.deadline);
            } else {
                cache.forget(touch.id);
            }
        }
        Ok(moved)
    }

    async fn tighten(&self, id: SessionId, record: &SessionRecord, touch_deadline: StoreTime) -> StoreResult<bool> {
        let bytes = codec::encode(record).map_err(Unavailable::because)?;
        let keys = [self.keys().record(&id), self.keys().ended(&id), self.keys().changed_record(&id)];
        let mut tighten = eval(scripts::TIGHTEN, &keys);
        tighten.arg(bytes).arg(expires(touch_deadline)).arg(KEPT_MILLIS);
        let work = |lanes: Arc<Lanes>| async move { lanes.careful.ask_number(tighten).await };
        let tightened = self.link.call("tighten", CALL_TIMEOUT, work).await;
        self.forget(id);
        tightened.map(|tightened| tightened == 1)
    }

    async fn end(&self, id: SessionId, record: &SessionRecord, reason: EndReason, by: &By) -> StoreResult<bool> {
        let work = |lanes: Arc<Lanes>| async move { self.end_on(&lanes, id, reason).await };
        let kept = self.keep_end(id, record, End::now(reason), by).await;
        let ended = self.link.call("end", CALL_TIMEOUT, work).await;
        // Whatever was answered: it may have been done.
        self.forget(id);
        self.forget(record.decided_by(id));
        let ended = match ended {
            Ok(ended) => ended,
            Err(unavailable) => return Err(kept.fail(unavailable)),
        };
        kept.complete(None);
        Ok(ended)
    }

    async fn hold(&self, id: SessionId, record: &SessionRecord, word: &HoldWord, by: &By) -> StoreResult<Said> {
        self.say_hold(id, record, word, by).await
    }

    fn abandon(&self, id: SessionId, principal: &Principal) {
        Making::abandon(&self.link, id, principal);
    }

    async fn end_unreadable(&self, id: SessionId, reason: EndReason, by: &By) -> StoreResult<bool> {
        let keys = [self.keys().ended(&id), self.keys().record(&id)];
        let mut end = eval(scripts::END_UNREADABLE, &keys);
        end.arg(reason.as_str()).arg(REASON_KEPT.as_millis());
        let journal = self.link.journal();
        let entry = |now: StoreTime| Entry::Session {
            id: id.to_string(),
            reason: reason.as_str().to_owned(),
            // As if it were made just now: until then it could live.
            deadline: now.after(journal.map_or(REASON_KEPT, |journal| journal.kept())).as_micros(),
            applied: false,
            owner: None,
        };
        let kept = Kept::write_many(journal, entry, reason, by).await;
        let work = |lanes: Arc<Lanes>| async move { lanes.careful.ask_number(end).await };
        let ended = self.link.call("end", CALL_TIMEOUT, work).await;
        self.forget(id);
        match ended {
            Ok(ended) => {
                kept.complete(None);
                Ok(ended == 1)
            }
            Err(unavailable) => Err(kept.fail(unavailable)),
        }
    }

    async fn note_end(&self, id: SessionId, record: &SessionRecord, reason: EndReason) -> StoreResult<bool> {
        let work = |lanes: Arc<Lanes>| async move { self.note_on(&lanes, id, record, reason).await };
        let noted = self.link.call("note_end", CALL_TIMEOUT, work).await;
        self.forget(id);
        noted
    }

    async fn read_outlived(&self, id: SessionId, record: &Arc<SessionRecord>) -> StoreResult<EndReason> {
        let work = |lanes: Arc<Lanes>| async move { self.read_outlived_on(&lanes, id, record).await };
        self.link.call("read_outlived", CALL_TIMEOUT, work).await
    }

    fn known_token(&self, id: SessionId, record: &SessionRecord, within: Duration) -> Option<KnownToken> {
        let known = self.cache.as_ref()?.known_token(id, record, within)?;
        self.link.observer().looked_up(true);
        Some(known)
    }

    async fn read_token(&self, id: SessionId, record: &Arc<SessionRecord>) -> StoreResult<TokenStanding> {
        self.link.observer().looked_up(false);
        let work = |lanes: Arc<Lanes>| async move { self.read_token_on(&lanes, id, record).await };
        self.link.call("read_token", CALL_TIMEOUT, work).await
    }

    async fn count_ended(&self) -> StoreResult<Option<u64>> {
        self.count_ended_slowly().await
    }

    async fn sealed_token(&self, id: SessionId) -> StoreResult<Option<Vec<u8>>> {
        let work = |lanes: Arc<Lanes>| async move { self.sealed_token_on(&lanes, id).await };
        self.link.call("sealed_token", CALL_TIMEOUT, work).await
    }

    async fn replace_sealed_token(&self, id: SessionId, sealed: &[u8]) -> StoreResult<bool> {
        let work = |lanes: Arc<Lanes>| async move { self.replace_sealed_token_on(&lanes, id, sealed).await };
        self.link.call("replace_sealed_token", CALL_TIMEOUT, work).await
    }

    async fn take_turn(&self, id: SessionId, holder: &str, lasts: Duration) -> StoreResult<bool> {
        let mut take = eval(scripts::TAKE_TURN, &[self.keys().turn(&id)]);
        take.arg(holder).arg(lasts.as_millis());
        let work = |lanes: Arc<Lanes>| async move { lanes.careful.ask_number(take).await };
        self.link.call("take_turn", CALL_TIMEOUT, work).await.map(|taken| taken == 1)
    }

    async fn end_turn(&self, id: SessionId, holder: &str) -> StoreResult<()> {
        let mut end = eval(scripts::END_TURN, &[self.keys().turn(&id)]);
        end.arg(holder);
        let work = |lanes: Arc<Lanes>| async move { lanes.careful.ask_number(end).await };
        self.link.call("end_turn", CALL_TIMEOUT, work).await.map(drop)
    }

    async fn deny(&self, denial: &TokenDenial, by: &By) -> StoreResult<bool> {
        self.deny_token(denial, by).await
    }

    async fn revoke(&self, revocation: &Revocation) -> StoreResult<Revoked> {
        self.revoke_all(revocation).await
    }

    async fn change_tenant(&self, tenant: &TenantId, change: &TenantChange) -> StoreResult<Revoked> {
        self.change_status(tenant, change).await
    }

    fn known_tenant(&self, tenant: &TenantId, within: Duration) -> Option<KnownTenant> {
        self.cache.as_ref()?.known_tenant(tenant, within)
    }

    async fn tenant_standing(&self, tenant: &TenantId) -> StoreResult<TenantStanding> {
        let work = |lanes: Arc<Lanes>| async move { self.tenant_standing_on(&lanes, tenant).await };
        self.link.call("tenant_standing", CALL_TIMEOUT, work).await
    }

    async fn tenant(&self, tenant: &TenantId) -> StoreResult<TenantView> {
        let work = |lanes: Arc<Lanes>| async move { self.tenant_on(&lanes, tenant).await };
        self.link.call("tenant", LISTING_TIMEOUT, work).await
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> StoreResult<Page<TenantView, TenantId>> {
        let work = |lanes: Arc<Lanes>| async move { self.tenants_on(&lanes, after, limit).await };
        self.link.call("tenants", LISTING_TIMEOUT, work).await
    }

    async fn sessions(
        &self,
        of: &SessionsOf,
        after: Option<&Cursor>,
        limit: usize,
    ) -> StoreResult<Page<SessionView, Cursor>> {
        let work = |lanes: Arc<Lanes>| async move { self.sessions_on(&lanes, of, after, limit).await };
        self.link.call("sessions", LISTING_TIMEOUT, work).await
    }

    fn proven(&self, asked: Monotonic) -> StoreResult<Monotonic> {
        self.link.proven(asked)
    }

    async fn is_replicated(&self, since: Monotonic) -> bool {
        self.outlives_the_master(since).await
    }

    async fn check(&self) -> StoreResult<Condition> {
        let work = |lanes: Arc<Lanes>| async move {
            if let Some(masters) = self.link.masters() {
                return self.link.check_on(masters, &lanes).await;
            }
            match self.link.probe(&lanes).await {
                Ok(()) => {
                    let missing = fitness::missing_rights(&lanes.careful, self.link.keys().probe()).await?;
                    let beside = missing.for_audit.clone();
                    match (missing.refusal(self.link.keys()), beside.is_empty()) {
                        (Some(refusal), _) => Err(refusal),
                        (None, true) => Ok(self.link.warning(&lanes).map_or(Condition::Good, Condition::GoodBut)),
                        (None, false) => Ok(Condition::GoodBut(Missing::text(&beside, self.link.keys()))),
                    }
                }
                // Touches and ends are still taken. Were this unavailable, a full server would take every gateway out
                // of service at once, and with them everybody who is logged in.
                Err(fault) if fault.is_out_of_memory() => Ok(Condition::TakesNoSessions(fault.to_string())),
                Err(fault) => Err(fault),
            }
        };
        self.link.call("check", CALL_TIMEOUT, work).await
    }
}
