//! What an answer may be, by what is known.
//!
//! What the gateways promise is in docs/revocation.md; each rule here is a sentence of it. Where a rule cannot be told from
//! outside to the millisecond it errs on the gateways' side, by what its constant says.

use std::time::Duration;

use crate::model::{At, End, GRANULARITY, IDLE, Known, Outcome, Promotion, SKEW, Scope, Session};

/// No yes is later than this after what it denies was acknowledged.
const SECOND: Duration = Duration::from_secs(1);
/// Who is the master is asked so often at the least, and a gateway may hear of it earlier than we do.
const UNSEEN: Duration = Duration::from_millis(500);
/// So long after a failover a gateway that serves does so from the new master.
const FROM_THE_NEW: Duration = Duration::from_millis(1500);
/// So long after a promotion an old master may have been told what nobody else is: the Sentinels' word of it is good for 0.9 s.
const OLD_MASTER_SERVES: Duration = Duration::from_millis(1200);

/// A request of a session, and what became of it.
#[derive(Clone, Copy)]
pub struct Asked {
    pub gateway: usize,
    pub began: At,
    pub answered: At,
}

/// The request was accepted.
pub fn accepted(known: &mut Known, number: usize, asked: Asked) {
    known.served[asked.gateway].push(asked.began);
    let mut wrong = Vec::new();
    let mut excused = false;
    let mut latest = Duration::ZERO;
    {
        let known = &*known;
        let session = &known.sessions[number];
        for end in known.ends.iter().filter(|end| session.is_in(end.scope) && session.answered <= end.began) {
            let (Outcome::Done { replicated }, Some(answered)) = (end.outcome, end.answered) else { continue };
            let late = asked.began.saturating_sub(answered);
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
        if let Some((seen, told)) = session.over
            && asked.began > told + SECOND
        {
            // Only what no replica had is unsaid again, by a failover.
            if promoted_between(known, seen, asked.answered) {
                excused = true;
            } else {
                wrong.push(format!("accepted {:?} after it had been refused as over", asked.began - told));
            }
        }
        let unused = asked.began.saturating_sub(session.used_at_most);
        if session.in_flight == 1 && unused > IDLE + GRANULARITY + SKEW {
            wrong.push(format!("accepted although it was not used for {unused:?}"));
        }
    }
    known.counts.latest_yes = known.counts.latest_yes.max(latest);
    known.counts.excused += usize::from(excused);
    let session = &mut known.sessions[number];
    session.uses.push(asked.began);
    note(session, asked, "accepted");
    for wrong in wrong {
        violated(known, number, &wrong);
    }
}

/// The request was refused with that code.
pub fn refused(known: &mut Known, number: usize, asked: Asked, code: &str) {
    known.served[asked.gateway].push(asked.began);
    note(&mut known.sessions[number], asked, code);
    let session = &known.sessions[number];
    if session.over.is_some() {
        return;
    }
    let concerns = |end: &&End| session.is_in(end.scope);
    let is_ended = known.ends.iter().filter(concerns).any(|end| reaches(end, session, asked));
    let is_ended_again = known.ends.iter().filter(concerns).any(|end| reaches_again(known, end, session, asked));
    let is_idle = asked.answered.saturating_sub(surely_used(known, session, asked)) + SKEW > IDLE;
    let lost_with = known.promotions.iter().find(|promotion| lost_by(promotion, session, asked));
    let mut lost = None;
    if !is_ended && !is_idle && is_ended_again {
        known.counts.ended_again += 1;
    } else if !is_ended && !is_idle {
        match lost_with {
            Some(promotion) => {
                lost = Some(format!(
                    "session {} of t{} u{}, made at {:.3}; server {} became the master at {:.3} and had all of {:.3}",
                    number,
                    session.tenant,
                    session.user,
                    session.answered.as_secs_f64(),
                    promotion.server,
                    promotion.at.as_secs_f64(),
                    promotion.had_all_of.as_secs_f64()
                ));
            }
            None => {
                violated(known, number, &format!("refused ({code}) although nothing ended it and the master had it"));
            }
        }
    }
    known.lost.extend(lost);
    known.sessions[number].over = Some((asked.began, asked.answered));
}

/// A login was answered: whose it is is for the caller to see. Whether there should have been one.
pub fn logged_in(known: &mut Known, number: usize, asked: Asked) {
    known.served[asked.gateway].push(asked.began);
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
    let since = |promotion: &&Promotion| {
        promotion.at + OLD_MASTER_SERVES >= end.began && promotion.at <= asked.answered + UNSEEN
    };
    let Some(last) = known.promotions.iter().rfind(since) else { return false };
    let (from, to) = (last.at + FROM_THE_NEW, asked.began.saturating_sub(SECOND));
    !known.served[end.by].iter().any(|served| *served > from && *served < to)
}

fn promoted_between(known: &Known, from: At, to: At) -> bool {
    known.promotions.iter().any(|promotion| promotion.at + OLD_MASTER_SERVES >= from && promotion.at <= to + UNSEEN)
}

/// Whether this call, however it was answered, may have ended that session by then.
fn reaches(end: &End, session: &Session, asked: Asked) -> bool {
    let until = match end.outcome {
        Outcome::Done { .. } => end.answered.unwrap_or(At::MAX),
        // It may be carried out late, and ends what was made until the call was over.
        Outcome::Unknown => end.answered.map_or(At::MAX, |answered| answered + SECOND),
    };
    end.began <= asked.answered && session.began <= until
}

/// Whether a failover lost what this call had raised, so that the session was made under what was before, and ended when the
/// gateway that was asked told the new master.
fn reaches_again(known: &Known, end: &End, session: &Session, asked: Asked) -> bool {
    let Some(done) =
        end.answered.filter(|_| end.began <= asked.answered && end.scope != Scope::Session(session.number))
    else {
        return false;
    };
    let served = |from: At, to: At| known.served[end.by].iter().any(|served| *served > from && *served < to);
    known.promotions.iter().any(|promotion| {
        let lost = promotion.at + OLD_MASTER_SERVES >= end.began && promotion.at <= asked.answered + UNSEEN;
        // What failed was raised where that gateway had a master again, if it had.
        let was_raised = matches!(end.outcome, Outcome::Done { .. }) || served(done, promotion.at + OLD_MASTER_SERVES);
        lost && was_raised && !served(promotion.at + FROM_THE_NEW, session.began.saturating_sub(SECOND))
    })
}

/// Since when it was surely not used: uses that a promoted server did not have are none.
fn surely_used(known: &Known, session: &Session, asked: Asked) -> At {
    let kept = |used: &&At| {
        let lost = |promotion: &Promotion| {
            promotion.at <= asked.answered && promotion.at + OLD_MASTER_SERVES > **used && promotion.had_all_of < **used
        };
        !known.promotions.iter().any(lost)
    };
    session.uses.iter().rev().find(kept).copied().unwrap_or(session.answered)
}

/// Whether the server that was promoted then had no such session.
fn lost_by(promotion: &Promotion, session: &Session, asked: Asked) -> bool {
    promotion.had_all_of < session.answered
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
    for end in known.ends.iter().filter(|end| session.is_in(end.scope)) {
        lines.push((end.began, format!("gateway {}: {} begins", end.by, end.what)));
        lines.extend(end.answered.map(|at| (at, format!("gateway {}: {}: {:?}", end.by, end.what, end.outcome))));
    }
    lines.extend(known.timeline.iter().filter(|(at, _)| *at + SECOND >= session.began).cloned());
    lines.sort();
    let shown: String = lines.iter().map(|(at, line)| format!("    {:8.3} {line}\n", at.as_secs_f64())).collect();
    let whole = format!("session {number} {} of t{} u{}: {what}\n{shown}", session.id, session.tenant, session.user);
    println!("VIOLATION: {whole}");
    known.violations.push(whole);
    known.suspects.insert(number);
}
