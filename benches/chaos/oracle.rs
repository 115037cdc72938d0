//! What an answer may be, by what is known.
//!
//! What the gateways promise is in docs/revocation.md; each rule here is a sentence of it. Where a rule cannot be told from
//! outside to the millisecond it errs on the gateways' side, by what its constant says.

use std::time::Duration;

use crate::model::{
    At, Came, End, GRANULARITY, IDLE, Known, Outcome, Pending, Promotion, SKEW, Scope, Served, Session,
};
use crate::places::{Parts, slot_of_tenant};
use crate::troubles::Unserved;

/// No yes is later than this after what it denies was acknowledged.
const SECOND: Duration = Duration::from_secs(1);
/// Who is the master is asked so often at the least, and a gateway may hear of it earlier than we do.
const UNSEEN: Duration = Duration::from_millis(500);
/// So long after a failover a gateway that serves does so from the new master.
const FROM_THE_NEW: Duration = Duration::from_millis(1500);
/// So long after a promotion an old master may have been told what nobody else is: the Sentinels' word of it is good for 0.9 s.
const OLD_MASTER_SERVES: Duration = Duration::from_millis(1200);

/// A gateway that takes longer than this for what it is answered is starved by this machine, and so are the servers; then a
/// 503 so short after says nothing.
const PROMPT: Duration = Duration::from_millis(200);
const STARVED: Duration = Duration::from_secs(2);
/// So many answers are looked at for that.
const RECENT: usize = 2000;

/// A gateway carries out what failed with its next look at the store but one, a second apart.
const CARRIED_OUT_WITHIN: Duration = Duration::from_millis(2500);

/// What was to end it so long before it was made is shown with a violation.
const SHOWN_BEFORE: Duration = Duration::from_secs(30);
/// An answer is judged so much later: by then it is known who was the master, and what became of calls that were under way.
const LATER: Duration = Duration::from_secs(5);

/// A request of a session.
#[derive(Clone, Copy)]
pub struct Asked {
    pub gateway: usize,
    pub began: At,
    pub answered: At,
}

/// The request was answered in a way that says something of the session, or of the store.
pub fn answered(known: &mut Known, number: usize, asked: Asked, came: Came) {
    let (tenant, slot) = (known.sessions[number].tenant, known.sessions[number].slot);
    match came {
        Came::Accepted => served(known, asked, &[slot, slot_of_tenant(tenant)]),
        Came::Refused(_) => served(known, asked, &[slot]),
        Came::Unavailable => {}
    }
    let session = &mut known.sessions[number];
    let what = match &came {
        Came::Accepted => "accepted",
        Came::Refused(code) => code,
        Came::Unavailable => "503",
    };
    note(session, asked, what);
    let unused = match session.in_flight {
        1 => asked.began.saturating_sub(session.used_at_most),
        _ => Duration::ZERO,
    };
    let Asked { gateway, began, answered } = asked;
    let over = session.over;
    match &came {
        Came::Accepted => session.uses.push(began),
        Came::Refused(_) if over.is_none() => session.over = Some((began, answered)),
        Came::Refused(_) | Came::Unavailable => {}
    }
    known.pending.push_back(Pending { session: number, gateway, began, answered, came, over, unused });
}

/// The store answered a gateway, from where these slots are.
fn served(known: &mut Known, asked: Asked, slots: &[u16]) {
    let Asked { gateway, began, answered } = asked;
    let having = slots.iter().map(|slot| known.places.having(*slot, began, answered));
    let parts = having.fold(Parts::default(), Parts::and);
    known.served[gateway].push(Served { began, answered, parts });
}

/// Judges what was answered long enough ago.
pub fn judge(known: &mut Known, now: At) {
    while known.refused_logins.front().is_some_and(|(_, asked)| asked.answered + LATER < now) {
        let Some((tenant, asked)) = known.refused_logins.pop_front() else { return };
        judge_login(known, tenant, asked);
    }
    while known.pending.front().is_some_and(|first| first.answered + LATER < now) {
        let Some(first) = known.pending.pop_front() else { return };
        let asked = Asked { gateway: first.gateway, began: first.began, answered: first.answered };
        match &first.came {
            Came::Accepted => accepted(known, &first, asked),
            Came::Refused(code) if first.over.is_none() => refused(known, first.session, asked, code),
            Came::Refused(_) => {}
            Came::Unavailable => unavailable(known, first.session, asked),
        }
    }
}

fn accepted(known: &mut Known, answer: &Pending, asked: Asked) {
    let number = answer.session;
    let mut wrong = Vec::new();
    let (mut excused, mut lost_on_their_way) = (false, 0);
    let mut latest = Duration::ZERO;
    let session = &known.sessions[number];
    for end in ends_since(known, session.answered).filter(|end| session.is_in(end.scope)) {
        let (Outcome::Done { mut replicated }, Some(answered)) = (end.outcome, end.answered) else { continue };
        let late = asked.began.saturating_sub(answered);
        if replicated && late > SECOND && is_lost_on_its_way(known, end, asked) {
            replicated = false;
            lost_on_their_way += 1;
        }
        if replicated && late > Duration::ZERO {
            latest = latest.max(late);
        }
        if late <= SECOND {
            continue;
        }
        if replicated {
            wrong.push(format!("accepted {late:?} after {} was acknowledged", end.what));
        } else if may_be_lost(known, end, asked) {
            excused = true;
        } else {
            wrong.push(format!("accepted {late:?} after {} was done, which no failover lost", end.what));
        }
    }
    if let Some((seen, told)) = answer.over
        && asked.began > told + SECOND
    {
        // Only what no replica had is unsaid again, by a failover.
        if promoted_between(known, session, seen, asked.answered) {
            excused = true;
        } else {
            wrong.push(format!("accepted {:?} after it had been refused as over", asked.began - told));
        }
    }
    if answer.unused > IDLE + GRANULARITY + SKEW {
        wrong.push(format!("accepted although it was not used for {:?}", answer.unused));
    }
    known.counts.latest_yes = known.counts.latest_yes.max(latest);
    known.counts.excused += usize::from(excused);
    known.counts.lost_on_their_way += lost_on_their_way;
    for wrong in wrong {
        violated(known, number, &wrong);
    }
}

fn refused(known: &mut Known, number: usize, asked: Asked, code: &str) {
    let session = &known.sessions[number];
    let concerns = |end: &&End| session.is_in(end.scope);
    let is_ended = known.ends.iter().filter(concerns).any(|end| reaches(known, end, session, asked));
    let is_idle = asked.answered.saturating_sub(surely_used(known, session, asked)) + SKEW > IDLE;
    if is_ended || is_idle {
        return;
    }
    if known.ends.iter().filter(concerns).any(|end| reaches_again(known, end, session, asked)) {
        known.counts.ended_again += 1;
        return;
    }
    let lost = known.promotions.iter().find(|promotion| lost_by(known, promotion, session, asked)).map(|promotion| {
        format!(
            "session {number} of t{} u{}, made at {:.3}; server {} became the master at {:.3} and had all of {:.3}",
            session.tenant,
            session.user,
            session.answered.as_secs_f64(),
            promotion.server,
            promotion.at.as_secs_f64(),
            promotion.had_all_of.as_secs_f64()
        )
    });
    match lost {
        Some(lost) => known.lost.push(lost),
        None => violated(known, number, &format!("refused ({code}) although nothing ended it and the master had it")),
    }
}

/// It got 503.
fn unavailable(known: &mut Known, number: usize, asked: Asked) {
    if !known.places.are_several() {
        return;
    }
    let Asked { gateway, began, answered } = asked;
    if known.may_be_away(number, Unserved { gateway, began, answered }) {
        known.counts.cut_off += 1;
    } else {
        let session = &known.sessions[number];
        let whose = format!("session {number} of t{} u{}", session.tenant, session.user);
        not_served(known, asked, &whose);
    }
}

fn not_served(known: &mut Known, asked: Asked, whose: &str) {
    let since = asked.began.saturating_sub(STARVED);
    let slow = |served: &Served| {
        let took = served.answered.saturating_sub(served.began);
        served.answered >= since && served.began <= asked.answered && took > PROMPT
    };
    if known.served[asked.gateway].iter().rev().take(RECENT).any(slow) {
        known.counts.starved += 1;
        return;
    }
    let (began, took) = (asked.began.as_secs_f64(), asked.answered.saturating_sub(asked.began));
    let what = format!("{began:8.3} {whose}: 503 from gateway {} in {took:?}, although all was there", asked.gateway);
    println!("UNSERVED: {what}");
    known.unserved.push(what);
}

/// A login got 503.
pub fn not_logged_in(known: &mut Known, tenant: usize, asked: Asked) {
    let Asked { gateway, began, answered } = asked;
    known.refused_logins.push_back((tenant, Unserved { gateway, began, answered }));
}

fn judge_login(known: &mut Known, tenant: usize, asked: Unserved) {
    if !known.places.are_several() {
        return;
    }
    if known.may_not_log_in(tenant, asked) {
        known.counts.cut_off += 1;
    } else {
        let Unserved { gateway, began, answered } = asked;
        not_served(known, Asked { gateway, began, answered }, &format!("a login of t{tenant}"));
    }
}

/// The calls that began since then, the last first.
fn ends_since(known: &Known, since: At) -> impl Iterator<Item = &End> {
    known.ends.iter().rev().take_while(move |end| end.began >= since)
}

/// A login was answered: whose it is is for the caller to see. Whether there should have been one.
pub fn logged_in(known: &mut Known, number: usize, asked: Asked) {
    let slots = [known.sessions[number].slot, slot_of_tenant(known.sessions[number].tenant)];
    served(known, asked, &slots);
    let session = &known.sessions[number];
    let of_tenant = || known.shuts.iter().filter(|shut| shut.tenant == session.tenant);
    let Some(last) = of_tenant().rfind(|shut| shut.answered.is_some_and(|at| at + SECOND < asked.began)) else {
        return;
    };
    let opened = of_tenant().any(|shut| !shut.shut && shut.began >= last.began);
    if last.shut && !opened && matches!(last.outcome, Outcome::Done { replicated: true }) {
        let since = asked.began.saturating_sub(last.answered.unwrap_or_default());
        violated(known, number, &format!("logged in {since:?} after its tenant was suspended"));
    }
}

/// Whether a failover may have lost that end, so that this gateway may not know of it yet.
fn may_be_lost(known: &Known, end: &End, asked: Asked) -> bool {
    // The one that was asked serves from no other master before it has told it.
    if end.by == asked.gateway {
        return false;
    }
    let slot = known.slot_of(end.scope);
    let since = |promotion: &&Promotion| {
        promotion.at + OLD_MASTER_SERVES >= end.began
            && promotion.at <= asked.answered + UNSEEN
            && promotion.concerns(slot, &known.places)
    };
    let Some(last) = known.promotions.iter().rfind(since) else { return false };
    !has_served(known, end.by, last, asked.began.saturating_sub(SECOND))
}

/// Whether an end that was on all replicas went with its slot to a master of which that replica became the successor before
/// it had it.
fn is_lost_on_its_way(known: &Known, end: &End, asked: Asked) -> bool {
    let slot = known.slot_of(end.scope);
    known.promotions.iter().any(|promotion| {
        promotion.at + OLD_MASTER_SERVES >= end.began
            && promotion.at <= asked.answered + UNSEEN
            && known.places.came(slot, promotion.part, promotion.at) > end.began
            && promotion.lacks(slot, end.began, &known.places)
    })
}

/// Whether a gateway was answered by the master of that promotion, long enough before.
fn has_served(known: &Known, gateway: usize, promotion: &Promotion, before: At) -> bool {
    let (from, part) = (promotion.at + FROM_THE_NEW, promotion.part);
    known.served[gateway].iter().any(|served| served.began > from && served.began < before && served.parts.has(part))
}

fn promoted_between(known: &Known, session: &Session, from: At, to: At) -> bool {
    let slots = [session.slot, slot_of_tenant(session.tenant)];
    known.promotions.iter().any(|promotion| {
        promotion.at + OLD_MASTER_SERVES >= from
            && promotion.at <= to + UNSEEN
            && slots.iter().any(|slot| promotion.concerns(*slot, &known.places))
    })
}

/// Whether this call, however it was answered, may have ended that session by then.
fn reaches(known: &Known, end: &End, session: &Session, asked: Asked) -> bool {
    let until = match end.outcome {
        Outcome::Done { .. } => end.answered.unwrap_or(At::MAX),
        // Whenever it comes, all of the tenant are out.
        Outcome::Unknown if end.shuts => end.answered.map_or(At::MAX, |answered| carried_out(known, end, answered)),
        // It may be carried out late, and ends what was made until the call was over.
        Outcome::Unknown => end.answered.map_or(At::MAX, |answered| answered + SECOND),
    };
    end.began <= asked.answered && session.began <= until
}

/// When a call that failed has been carried out, or never will be: its gateway was served from where it belongs for so long.
fn carried_out(known: &Known, end: &End, answered: At) -> At {
    let slot = known.slot_of(end.scope);
    let there = |served: &&Served| {
        let having = known.places.having(slot, served.began, served.answered);
        served.began > answered && served.parts.meet(having)
    };
    known.served[end.by].iter().find(there).map_or(At::MAX, |served| served.answered + CARRIED_OUT_WITHIN)
}

/// Whether a failover lost what this call had raised, so that the session was made under what was before, and ended when the
/// gateway that was asked told the new master.
fn reaches_again(known: &Known, end: &End, session: &Session, asked: Asked) -> bool {
    let Some(done) =
        end.answered.filter(|_| end.began <= asked.answered && end.scope != Scope::Session(session.number))
    else {
        return false;
    };
    let slot = known.slot_of(end.scope);
    known.promotions.iter().any(|promotion| {
        let lost = promotion.at + OLD_MASTER_SERVES >= end.began
            && promotion.at <= asked.answered + UNSEEN
            && promotion.concerns(slot, &known.places);
        let was_served = |served: &Served| {
            let (began, part) = (served.began, promotion.part);
            began > done && began < promotion.at + OLD_MASTER_SERVES && served.parts.has(part)
        };
        // What failed was raised where that gateway had a master again, if it had.
        let was_raised = matches!(end.outcome, Outcome::Done { .. }) || known.served[end.by].iter().any(was_served);
        lost && was_raised && !has_served(known, end.by, promotion, session.began.saturating_sub(SECOND))
    })
}

/// Since when it was surely not used: uses that a promoted server did not have are none.
fn surely_used(known: &Known, session: &Session, asked: Asked) -> At {
    let kept = |used: &&At| {
        let lost = |promotion: &Promotion| {
            promotion.at <= asked.answered
                && promotion.at + OLD_MASTER_SERVES > **used
                && promotion.lacks(session.slot, **used, &known.places)
        };
        !known.promotions.iter().any(lost)
    };
    session.uses.iter().rev().filter(|used| **used <= asked.began).find(kept).copied().unwrap_or(session.answered)
}

/// Whether the server that was promoted then had no such session.
fn lost_by(known: &Known, promotion: &Promotion, session: &Session, asked: Asked) -> bool {
    promotion.lacks(session.slot, session.answered, &known.places)
        && session.answered < promotion.at + OLD_MASTER_SERVES
        && promotion.at <= asked.answered + UNSEEN
}

pub fn note(session: &mut Session, asked: Asked, what: &str) {
    let (began, took) = (asked.began, asked.answered.saturating_sub(asked.began));
    session.history.push((began, format!("gateway {}: {what}, in {took:?}", asked.gateway)));
}

pub fn violated(known: &mut Known, number: usize, what: &str) {
    let session = &known.sessions[number];
    let mut lines: Vec<(At, String)> = session.history.iter().rev().take(40).cloned().collect();
    lines.push((session.began, String::from("the login began")));
    lines.push((session.answered, String::from("the login was answered")));
    let before = session.began.saturating_sub(SHOWN_BEFORE);
    for end in ends_since(known, before).filter(|end| session.is_in(end.scope)) {
        lines.push((end.began, format!("gateway {}: {} begins", end.by, end.what)));
        lines.extend(end.answered.map(|at| (at, format!("gateway {}: {}: {:?}", end.by, end.what, end.outcome))));
    }
    lines.extend(known.timeline.iter().filter(|(at, _)| *at >= before).cloned());
    lines.sort();
    let shown: String = lines.iter().map(|(at, line)| format!("    {:8.3} {line}\n", at.as_secs_f64())).collect();
    let whole = format!("session {number} {} of t{} u{}: {what}\n{shown}", session.id, session.tenant, session.user);
    println!("VIOLATION: {whole}");
    known.violations.push(whole);
    known.suspects.insert(number);
}
