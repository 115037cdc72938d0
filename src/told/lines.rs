//! What the audit log hears of it: a line, sometimes two, or none.

use super::happened::{NoLogin, Source, Spoof, Told};
use super::origin::{Origin, reason_of};
use crate::audit::{Actor, AuditEvent, AuditType, Details, Outcome};
use crate::clock::WallTime;
use crate::monitor::{Finding, MonitorMode, Taken};
use crate::session::{By, Hold, HoldWord, Principal, Revocation, Scope, TenantChange, TenantStatus};
use crate::store::Revoked;
use crate::store::journal::Late;

/// What the audit log hears.
pub(super) fn lines(origin: &Origin, told: &Told, now: WallTime) -> impl Iterator<Item = AuditEvent> + use<> {
    let event = |kind, outcome| origin.event(now, kind, outcome);
    let (first, second) = match told {
        Told::SessionCreated { id, record, from } => {
            let details = origin.details().flag("remembered", record.remembered);
            let details = match &record.choices {
                Some(choices) => details.count("tenants", choices.as_slice().len() as u64 + 1),
                None => details,
            };
            let details = match from {
                Source::RotatedFrom(old) => details.text("rotated_from", old.as_str()),
                Source::Followed => details.flag("followed", true),
                Source::Login | Source::Minted => details,
            };
            let created = event(AuditType::SessionCreated, Outcome::Success).of_principal(&record.principal);
            (Some(created.of_session(*id).with_details(details)), None)
        }
        Told::SessionEnded { id, principal, reason, from: _ } => {
            let ended = of(event(AuditType::SessionEnded, Outcome::Success).of_session(*id), principal.as_deref());
            (Some(ended.because(*reason).with_details(origin.details())), None)
        }
        Told::SessionHeld { id, principal, why } => {
            let held = event(AuditType::SessionHeld, Outcome::Success).of_session(*id).of_principal(principal);
            (Some(AuditEvent { reason: reason_of(why), ..held }), None)
        }
        Told::SessionReleased { id, principal, held, by } => {
            let released = event(AuditType::SessionReleased, Outcome::Success).of_session(*id).of_principal(principal);
            let details = match held {
                Some(Hold { since, why }) => {
                    Details::none().text("held_at", since.rfc3339().as_str()).text("held_for", why.as_str())
                }
                None => Details::none(),
            };
            let released = match (by, &origin.by) {
                (Some(new), _) => released.because("logged_in").with_details(details.text("by_session", new.as_str())),
                (None, By::Operator { words, .. }) => {
                    AuditEvent { reason: reason_of(words), ..released }.with_details(details)
                }
                (None, _) => released.with_details(details),
            };
            (Some(released), None)
        }
        Told::TokenRevoked { id, principal, reason } => {
            let revoked = of(event(AuditType::TokenRevoked, Outcome::Success).of_session(*id), principal.as_deref());
            (Some(revoked.because(*reason).with_details(origin.details())), None)
        }
        Told::TokenRejected { token, why } => {
            // By its sender, who can make up as many tokens as it likes, and not by the token.
            let mut rejected = event(AuditType::TokenRejected, Outcome::Denied).because(*why);
            if let Some((id, principal)) = token {
                rejected = rejected.of_principal(principal).with_details(Details::none().text("token", id.as_str()));
            }
            (Some(rejected), None)
        }
        Told::SessionsEnded { revocation: Revocation { scope, reason, .. }, revoked } => {
            let mut details = ended(origin, *revoked);
            let mut line = event(AuditType::SessionEnded, Outcome::Success).because(*reason);
            match scope {
                Scope::User { tenant, user } => (line.tenant, line.user) = (Some(tenant.clone()), Some(user.clone())),
                Scope::OtherSessions { tenant, user, keep } => {
                    (line.tenant, line.user) = (Some(tenant.clone()), Some(user.clone()));
                    details = details.text("kept", keep.id().as_str());
                }
                Scope::Tenant { tenant } => line.tenant = Some(tenant.clone()),
            }
            (Some(line.with_details(details)), None)
        }
        Told::TenantChanged { tenant, change, revoked } => {
            let line = |kind| {
                let mut line = event(kind, Outcome::Success);
                line.tenant = Some(tenant.clone());
                line
            };
            let details = ended(origin, *revoked).text("status", change.status.as_str());
            let ended = ends_sessions(change, *revoked)
                .then(|| line(AuditType::SessionEnded).because(change.reason).with_details(ended(origin, *revoked)));
            let changed = line(AuditType::TenantChanged).with_details(details);
            let shut_out = change.status != TenantStatus::Active;
            (Some(if shut_out { changed.because(change.reason) } else { changed }), ended)
        }
        Told::CameLate(late) => came_late(origin, late, now),
        Told::SessionRejected { id, principal, reason } => {
            let rejected = event(AuditType::SessionRejected, Outcome::Denied).of_session(*id).because(reason.as_str());
            (Some(of(rejected, principal.as_deref())), None)
        }
        Told::EventEndedNothing { outcome, why, tenant, session } => {
            let mut nothing = event(AuditType::SessionEnded, *outcome).because(*why).with_details(origin.details());
            nothing.tenant.clone_from(tenant);
            nothing.session_id = *session;
            (Some(nothing), None)
        }
        Told::EventUnknown { session, said } => {
            let mut unknown = event(AuditType::EventUnknown, Outcome::Failure);
            unknown.session_id = *session;
            (Some(unknown.with_details(origin.details().text("said", said.clone()))), None)
        }
        Told::NoLogin {
            why: NoLogin::Undecided | NoLogin::Unnamed | NoLogin::Unanswered | NoLogin::Locked(None),
            ..
        } => (None, None),
        Told::NoLogin { why: NoLogin::Locked(Some(by)), .. } => {
            (Some(event(AuditType::LoginLocked, Outcome::Denied).because(*by)), None)
        }
        Told::LoginOrphaned { principal, let_in, is_new } => {
            let orphaned = event(AuditType::LoginOrphaned, if *let_in { Outcome::Success } else { Outcome::Denied });
            let details = is_new.map_or_else(Details::none, |is_new| Details::none().flag("new", is_new));
            (Some(orphaned.of_principal(principal).with_details(details)), None)
        }
        Told::Found { finding, id, taken } => {
            (Some(found(event(AuditType::AnomalyFound, Outcome::Success), finding, id, taken)), None)
        }
        Told::FindingJudged { id, verdict, .. } => {
            let details = origin.details().text("finding", id.as_str()).text("verdict", verdict.as_str());
            (Some(event(AuditType::AnomalyVerdict, Outcome::Success).with_details(details)), None)
        }
        Told::FindingReported { id, verdict } => {
            let details = Details::none().text("finding", id.as_str()).text("verdict", verdict.as_str());
            let reported = event(AuditType::AnomalyVerdict, Outcome::Success).because("client_reported");
            (Some(of(reported, origin.requester.as_deref()).with_details(details)), None)
        }
        Told::LoginUnlocked(lock) => {
            let details = origin.details().text("lock", lock.id().as_str()).text("by", lock.note.by.as_str());
            (Some(event(AuditType::LoginUnlocked, Outcome::Success).with_details(details)), None)
        }
        Told::NoLogin { why: NoLogin::Failed(status), .. } => {
            let failed = event(AuditType::LoginFailed, Outcome::Failure);
            (Some(failed.with_details(Details::none().count("status", u64::from(*status)))), None)
        }
        Told::NoLogin { why: NoLogin::Refused(why), principal } => {
            let refused = event(AuditType::LoginFailed, Outcome::Denied).because(*why);
            (Some(of(refused, principal.as_deref())), None)
        }
        Told::IdentitySpoofed { by, path, session, principal } => {
            let (details, spoofed) =
                (Details::none().text("path", path.clone()), event(AuditType::IdentitySpoofed, Outcome::Denied));
            let mut spoofed = match by {
                Spoof::Headers(count) => spoofed.with_details(details.count("headers", *count)),
                Spoof::Cookies(count) => spoofed.because("app_cookie").with_details(details.count("cookies", *count)),
                Spoof::Place(place) => spoofed.because(*place).with_details(details),
            };
            spoofed.session_id = *session;
            (Some(of(spoofed, principal.as_deref())), None)
        }
    };
    first.into_iter().chain(second)
}

/// The line of a finding: the gateway's own, whoever caused it.
fn found(event: AuditEvent, finding: &Finding, id: &Option<String>, taken: &[Taken]) -> AuditEvent {
    let details = Details::none().text("severity", finding.severity.as_str()).text("mode", finding.mode.as_str());
    let actions: Vec<&str> = finding.actions.iter().map(|action| action.as_str()).collect();
    let details = details.text("action", &*actions.join(" ")).text("evidence", &*finding.evidence.to_string());
    let details = match id {
        Some(id) => details.text("finding", id.as_str()),
        None => details,
    };
    let failed: Vec<&str> = taken.iter().filter(|taken| !taken.done).map(|taken| taken.action.as_str()).collect();
    let details = match finding.mode {
        MonitorMode::Enforce if !failed.is_empty() => details.text("not_done", &*failed.join(" ")),
        MonitorMode::Enforce | MonitorMode::Observe => details,
    };
    let (session_id, actor) = (finding.session.as_ref().map(|(id, _)| *id), Actor::Gateway);
    let event = AuditEvent { session_id, actor, ..event.because(finding.kind.as_str()) };
    of(event, finding.session.as_ref().map(|(_, principal)| &**principal)).with_details(details)
}

fn of(event: AuditEvent, principal: Option<&Principal>) -> AuditEvent {
    match principal {
        Some(principal) => event.of_principal(principal),
        None => event,
    }
}

/// The details of an end of many sessions.
fn ended(origin: &Origin, revoked: Revoked) -> Details {
    let mut details = origin.details().count("invalidated_sessions", revoked.ended);
    if !revoked.complete {
        details = details.flag("counting", true);
    }
    if !revoked.journalled {
        details = details.flag("journalled", false);
    }
    if !revoked.replicated {
        details = details.flag("replicated", false);
    }
    details
}

/// That it is the delayed effect of a call that failed, by whoever had asked for it, and what is known of that call.
fn came_late(origin: &Origin, late: &Late, now: WallTime) -> (Option<AuditEvent>, Option<AuditEvent>) {
    let details = || {
        let details = origin.details().flag("late", true).text("asked_at", late.asked.rfc3339().as_str());
        if late.already { details.flag("already", true) } else { details }
    };
    let line = |kind| {
        let mut line = origin.event(now, kind, Outcome::Success);
        (line.tenant, line.user, line.session_id) = (late.tenant.clone(), late.user.clone(), late.session);
        line
    };
    if let Some(word) = &late.word {
        let (kind, reason) = match word {
            HoldWord::Hold(why) => (AuditType::SessionHeld, reason_of(why)),
            HoldWord::Release => (AuditType::SessionReleased, None),
        };
        return (Some(AuditEvent { reason, ..line(kind).with_details(details()) }), None);
    }
    let status = late.status.map(|status| {
        let changed = line(AuditType::TenantChanged).with_details(details().text("status", status.as_str()));
        if status == TenantStatus::Active { changed } else { changed.because(late.reason) }
    });
    let ended = (late.status != Some(TenantStatus::Active)).then(|| {
        let details = details().count("invalidated_sessions", late.ended);
        line(AuditType::SessionEnded).because(late.reason).with_details(details)
    });
    (status, ended)
}

/// Whether a change of a tenant's status was the end of sessions.
pub(super) fn ends_sessions(change: &TenantChange, revoked: Revoked) -> bool {
    change.status != TenantStatus::Active || revoked.ended > 0
}
