//! Acts of users that count within a window: things that were refused to them, records that they took out, changes of their
//! passwords; and uses of sessions that somebody ended.
//!
//! Nothing of it is waited for. What is noticed waits for a moment, and goes to the store with all else that came meanwhile.

use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::sleep;

use super::act_queue::{Noted, Put, UsedAfterEnd, Waiting};
use super::findings::of_user;
use super::{Inner, Watch};
use crate::clock::WallTime;
use crate::monitor::{Act, Counting, EndNote, Evidence, Finding, FindingKind, MonitorRules, Rule, number_of};
use crate::session::{EndReason, Principal, SessionId, SessionRecord};
use crate::store::{REASON_KEPT, StoreResult};
use crate::told::{EndedFrom, Listener, Origin, Told};

/// How long things wait for others to go along.
const GATHERED: Duration = Duration::from_millis(100);
/// So many go to the store at once.
const AT_ONCE: usize = 256;
/// More than anybody takes out in a window. What a backend says counts up to there.
const MOST_RECORDS: u64 = 1 << 40;

/// The most of it that evidence repeats, in characters: a part of it may be a client's.
const MOST_REPEATED: usize = 64;

/// Who did something, in which session.
#[derive(Clone, Debug)]
pub struct Who {
    /// The session; `None`: it was done to them by somebody else.
    pub session: Option<SessionId>,
    /// Who.
    pub principal: Arc<Principal>,
}

impl Watch {
    /// Something was refused to a user: they may not do it, or claimed to be somebody else. `what` tells it from others.
    pub fn refused(&self, rules: &MonitorRules, what: &str, who: &Who, origin: Origin) {
        let Some(privileges) = &rules.privileges else { return };
        let evidence = Evidence::default().with("last", shortened(what));
        let counting = Counting::Different(number_of(what));
        let of = Of { kind: FindingKind::Privileges, rule: &privileges.rule, letter: 'p', unit: "targets", counting };
        self.count(rules, of, evidence, who, origin);
    }

    /// A user took out so many records, by a route of this name.
    pub fn exported(&self, rules: &MonitorRules, records: u64, route: &str, who: &Who, origin: Origin) {
        let Some(exports) = rules.exports.as_ref().filter(|_| records > 0) else { return };
        let evidence = Evidence::default().with("last", shortened(route));
        let counting = Counting::Amount(records.min(MOST_RECORDS));
        let of = Of { kind: FindingKind::Exports, rule: &exports.rule, letter: 'e', unit: "records", counting };
        self.count(rules, of, evidence, who, origin);
    }

    /// A user's password was changed.
    pub fn password_changed(&self, rules: &MonitorRules, who: &Who, origin: Origin) {
        let Some(passwords) = &rules.passwords else { return };
        let mut number = [0; 8];
        if self.0.services.entropy.fill(&mut number).is_err() {
            return self.0.services.metrics.monitor_dropped();
        }
        let mut evidence = Evidence::default();
        if who.session.is_none() {
            evidence = evidence.with("user", who.principal.user.as_str()).with("tenant", who.principal.tenant.shown());
        }
        let counting = Counting::Different(u64::from_ne_bytes(number));
        let of = Of { kind: FindingKind::Passwords, rule: &passwords.rule, letter: 'w', unit: "changes", counting };
        self.count(rules, of, evidence, who, origin);
    }

    fn count(
        &self,
        rules: &MonitorRules,
        of: Of<'_>,
        evidence: Evidence,
        Who { session, principal }: &Who,
        origin: Origin,
    ) {
        let Of { kind, rule, letter, unit, counting } = of;
        let subject = of_user(principal);
        let key = format!("{letter}:{:016x}", self.0.services.keys.user(principal));
        let act = Act { key, counting, count: rule.count.into(), window: rule.window };
        let finding = Finding {
            kind,
            severity: rule.severity,
            mode: rules.mode,
            actions: rule.actions.clone(),
            subject,
            session: session.map(|id| (id, principal.clone())),
            account: None,
            address: origin.address,
            evidence: evidence.with("within_seconds", rule.window.as_secs()),
        };
        self.wait(self.0.acts.act(Noted { act, finding, unit, origin }));
    }

    /// A session was used after it ended. `record`: what is left of it, if anything is.
    pub fn used_after_end(
        &self,
        rules: &MonitorRules,
        session: SessionId,
        reason: EndReason,
        record: Option<&SessionRecord>,
        origin: Origin,
    ) {
        let (Some(rule), Some(address)) = (&rules.revoked_use, origin.address) else { return };
        let services = &self.0.services;
        if !is_meant(reason) || !self.0.looked_at.lock().is_new(session, services.clock.monotonic()) {
            return;
        }
        let finding = Finding {
            kind: FindingKind::RevokedUse,
            severity: rule.severity,
            mode: rules.mode,
            actions: rule.actions.clone(),
            subject: session.to_string(),
            session: None,
            account: None,
            address: Some(address),
            evidence: Evidence::default().with("reason", reason.as_str()),
        };
        let note = record.map(|record| EndNote::of(&record.principal, record.address));
        self.wait(self.0.acts.used(UsedAfterEnd { session, note, finding, origin }));
    }

    /// Whose a session was that somebody ended, as far as that is remembered.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn owner_of_ended(&self, session: SessionId) -> StoreResult<Option<Arc<Principal>>> {
        let notes = self.0.services.acts.end_notes(&[session]).await?;
        Ok(notes.into_iter().flatten().find_map(|note| note.principal()))
    }

    /// Hears of the ends of sessions from now on.
    pub fn listen(&self) {
        self.0.services.teller.tell_to(Arc::new(Ear(Arc::downgrade(&self.0))));
    }

    fn wait(&self, put: Put) {
        match put {
            Put::Waits => {}
            Put::Dropped => self.0.services.metrics.monitor_dropped(),
            Put::First => {
                let watch = self.clone();
                self.0.services.tasks.spawn(async move {
                    loop {
                        sleep(GATHERED).await;
                        let Some(waiting) = watch.0.acts.take() else { return };
                        watch.hand_over(waiting).await;
                    }
                });
            }
        }
    }

    async fn hand_over(&self, Waiting { mut acts, amounts, notes, uses }: Waiting) {
        let services = &self.0.services;
        let began = services.clock.monotonic();
        acts.extend(amounts.into_values());
        for notes in notes.chunks(AT_ONCE) {
            if let Err(error) = services.acts.keep_end_notes(notes).await {
                self.dropped(&error, notes.len());
            }
        }
        for acts in chunks(acts) {
            self.hand_over_acts(acts).await;
        }
        for uses in chunks(uses) {
            self.hand_over_uses(uses).await;
        }
        services.metrics.monitor_took(services.clock.monotonic().since(began));
    }

    async fn hand_over_acts(&self, noted: Vec<Noted>) {
        let acts: Vec<Act> = noted.iter().map(|noted| noted.act.clone()).collect();
        let fired = match self.0.services.acts.count_acts(&acts).await {
            Ok(fired) => fired,
            Err(error) => return self.dropped(&error, noted.len()),
        };
        for (Noted { finding, unit, origin, .. }, fired) in noted.into_iter().zip(fired) {
            let Some(count) = fired else { continue };
            let evidence = finding.evidence.with(unit, count);
            self.found(Finding { evidence, ..finding }, origin);
        }
    }

    async fn hand_over_uses(&self, uses: Vec<UsedAfterEnd>) {
        let unknown: Vec<SessionId> = uses.iter().filter(|used| used.note.is_none()).map(|used| used.session).collect();
        let remembered = match self.0.services.acts.end_notes(&unknown).await {
            Ok(remembered) => remembered,
            Err(error) => return self.dropped(&error, unknown.len()),
        };
        let mut remembered = remembered.into_iter();
        for UsedAfterEnd { session, note, finding, origin } in uses {
            let note = note.or_else(|| remembered.next().flatten());
            let (Some(note), Some(address)) = (note, origin.address) else { continue };
            let Some(networks) = note.elsewhere(address) else { continue };
            let evidence = finding.evidence.with("used_from", networks);
            let session = note.principal().map(|principal| (session, principal));
            self.found(Finding { session, evidence, ..finding }, origin);
        }
    }

    fn dropped(&self, error: &crate::store::Unavailable, count: usize) {
        tracing::debug!(%error, count, "what was done is not counted");
        for _ in 0..count {
            self.0.services.metrics.monitor_dropped();
        }
    }

    /// A session ended that was used from these addresses.
    fn session_ended(&self, id: SessionId, principal: &Principal, ended: &EndedFrom, by: Option<IpAddr>) {
        let until = ended.deadline.after(REASON_KEPT);
        let note = EndNote::of(principal, ended.address.into_iter().chain(by));
        if ended.first != id {
            self.wait(self.0.acts.note(ended.first, note.clone(), until));
        }
        self.wait(self.0.acts.note(id, note, until));
    }
}

/// By which rule something counts, how, and what its count is called.
#[derive(Clone, Copy)]
struct Of<'a> {
    kind: FindingKind,
    rule: &'a Rule,
    letter: char,
    unit: &'static str,
    counting: Counting,
}

/// Hears what is told, for as long as the monitoring is there.
struct Ear(Weak<Inner>);

impl Listener for Ear {
    fn hear(&self, origin: &Origin, told: &Told, _: WallTime) {
        let Told::SessionEnded { id, principal: Some(principal), reason, from: Some(from) } = told else { return };
        let Some(watch) = self.0.upgrade().map(Watch) else { return };
        let remembers = watch.0.rules.load().as_ref().is_some_and(|rules| rules.revoked_use.is_some());
        if !is_meant(*reason) || !remembers {
            return;
        }
        // Whoever logs out does so in the session itself.
        let by = origin.address.filter(|_| *reason == EndReason::Logout);
        watch.session_ended(*id, principal, from, by);
    }
}

/// Whether somebody ended a session so that it is used no more: not time, not a newer session of a user who had too many, and
/// not the app, which refreshed its token no longer.
const fn is_meant(reason: EndReason) -> bool {
    !reason.is_by_time() && !matches!(reason, EndReason::Limit | EndReason::TokenRefused)
}

fn chunks<T>(list: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut rest = list.into_iter().peekable();
    std::iter::from_fn(move || {
        rest.peek()?;
        Some(rest.by_ref().take(AT_ONCE).collect())
    })
}

/// As much of it as evidence repeats.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(MOST_REPEATED).map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_means_what_time_ends_or_a_newer_session_or_an_app_that_refreshes_no_token() {
        let not_meant: Vec<&str> =
            EndReason::ALL.into_iter().filter(|reason| !is_meant(*reason)).map(EndReason::as_str).collect();
        assert_eq!(not_meant, ["idle_timeout", "expired", "limit", "token_refused"]);
    }
}
