//! Who uses sessions, and who ends them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_gateway::session::SessionToken;
use tokio::task::JoinHandle;

use crate::calls::{Fleet, Lines, Told};
use crate::dice::Dice;
use crate::model::{Came, GRANULARITY, IDLE, Known, Model, Outcome, SKEW, Scope, Session};
use crate::oracle::{self, Asked};
use crate::places::slot_of_session;

pub const TENANTS: usize = 8;
/// Live sessions of a client.
const OF_A_CLIENT: usize = 5;
/// Of so many sessions, the last, somebody knows their own.
const RECENT: usize = 600;
/// What ended so short ago is asked for most.
const FRESH: Duration = Duration::from_secs(4);

pub struct Load {
    stopped: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(clients: usize, fleet: &Fleet, model: &Arc<Model>, dice: &mut Dice) -> Self {
        model.known().served = vec![Vec::new(); fleet.addresses.len()];
        let stopped = Arc::new(AtomicBool::new(false));
        let mut somebody = |user: usize| Somebody {
            user,
            model: model.clone(),
            lines: Lines::new(model.clone(), fleet.addresses.clone()),
            dice: dice.fork(),
            stopped: stopped.clone(),
        };
        let mut tasks: Vec<_> = (0..clients).map(|user| tokio::spawn(somebody(user).uses())).collect();
        tasks.push(tokio::spawn(somebody(clients).operates(clients)));
        Self { stopped, tasks }
    }

    pub async fn stop(self) {
        self.stopped.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("a client");
        }
    }
}

struct Somebody {
    user: usize,
    model: Arc<Model>,
    lines: Lines,
    dice: Dice,
    stopped: Arc<AtomicBool>,
}

impl Somebody {
    async fn uses(mut self) {
        let tenant = self.user % TENANTS;
        while !self.stopped.load(Ordering::SeqCst) {
            tokio::time::sleep(self.dice.millis(10, 70)).await;
            let own: Vec<usize> = {
                let known = self.model.known();
                let mine = known
                    .sessions
                    .iter()
                    .rev()
                    .take(RECENT)
                    .filter(|session| session.user == self.user && !session.sleeps);
                mine.filter(|session| session.over.is_none()).map(|session| session.number).take(OF_A_CLIENT).collect()
            };
            match self.dice.below(100) {
                _ if own.is_empty() => self.logs_in(tenant).await,
                0..5 if own.len() < OF_A_CLIENT => self.logs_in(tenant).await,
                0..55 => {
                    let session = self.dice.of_these(&own);
                    self.asks(session).await;
                }
                55..95 => {
                    let found = self.one_that_was_ended();
                    if let Some(session) = found {
                        self.asks(session).await;
                    }
                }
                95..98 => {
                    let session = self.dice.of_these(&own);
                    self.logs_out(session).await;
                }
                98 => {
                    let session = self.dice.of_these(&own);
                    self.logs_out_everywhere(session).await;
                }
                _ => self.wakes_a_sleeper().await,
            }
        }
    }

    /// One that something was to end, mostly a short while ago.
    fn one_that_was_ended(&mut self) -> Option<usize> {
        let now = self.model.now();
        let known = self.model.known();
        if self.dice.one_in(3) || known.ends.is_empty() {
            let session =
                &known.sessions[self.dice.below(known.sessions.len().max(1)).min(known.sessions.len().checked_sub(1)?)];
            return (!session.sleeps).then_some(session.number);
        }
        let recent = known.ends.iter().rev().take_while(|end| now.saturating_sub(end.began) < FRESH).count().max(1);
        let end = &known.ends[known.ends.len() - 1 - self.dice.below(recent)];
        let these: Vec<usize> = known
            .sessions
            .iter()
            .rev()
            .take(RECENT)
            .filter(|session| session.is_in(end.scope) && session.answered <= end.began && !session.sleeps)
            .map(|session| session.number)
            .take(OF_A_CLIENT)
            .collect();
        (!these.is_empty()).then(|| self.dice.of_these(&these))
    }

    async fn logs_in(&mut self, tenant: usize) {
        let gateway = self.dice.below(self.lines.count());
        let told = self.lines.ask(gateway, "login", &format!("POST /api/login?{tenant}.{}", self.user), "").await;
        let asked = Asked { gateway, began: told.began, answered: told.answered };
        if told.status == 503 {
            oracle::not_logged_in(&mut self.model.known(), tenant, asked);
        }
        let (200, Some(cookie)) = (told.status, told.cookie.clone()) else { return };
        let token = cookie.split_once('=').and_then(|(_, token)| SessionToken::parse(token.as_bytes()));
        let id = token.map(|token| token.id().to_string()).unwrap_or_default();
        let mut known = self.model.known();
        let number = known.sessions.len();
        known.sessions.push(Session {
            number,
            tenant,
            user: self.user,
            cookie,
            slot: slot_of_session(&id),
            id,
            began: told.began,
            answered: told.answered,
            uses: Vec::new(),
            used_at_most: told.answered,
            in_flight: 0,
            over: None,
            sleeps: self.dice.one_in(8),
            history: Vec::new(),
        });
        oracle::note(&mut known.sessions[number], asked, "logged in");
        oracle::logged_in(&mut known, number, asked);
    }

    async fn asks(&mut self, number: usize) {
        let gateway = self.dice.below(self.lines.count());
        let cookie = {
            let session = &mut self.model.known().sessions[number];
            session.in_flight += 1;
            session.cookie.clone()
        };
        let told = self.lines.ask(gateway, "request", "GET /x", &cookie).await;
        self.judge(number, gateway, &told);
    }

    fn judge(&self, number: usize, gateway: usize, told: &Told) {
        let asked = Asked { gateway, began: told.began, answered: told.answered };
        let known = &mut *self.model.known();
        match told.status {
            200 => {
                let session = &known.sessions[number];
                let expected = format!("t{} u{}", session.tenant, session.user);
                if told.text != expected {
                    oracle::violated(known, number, &format!("answered with another's: {}", told.text));
                }
                oracle::answered(known, number, asked, Came::Accepted);
            }
            401 | 403 => oracle::answered(known, number, asked, Came::Refused(told.code())),
            503 => oracle::answered(known, number, asked, Came::Unavailable),
            status => oracle::note(&mut known.sessions[number], asked, &status.to_string()),
        }
        let session = &mut known.sessions[number];
        session.in_flight -= 1;
        session.used_at_most = session.used_at_most.max(told.answered);
        oracle::judge(known, told.answered);
    }

    /// Not used for so long that it must have timed out, on any clock.
    async fn wakes_a_sleeper(&mut self) {
        let now = self.model.now();
        let long = IDLE + GRANULARITY + SKEW + Duration::from_millis(500);
        let found = {
            let mut known = self.model.known();
            let mut sleepers = known.sessions.iter_mut();
            let session = sleepers.find(|session| session.sleeps && session.answered + long < now);
            session.map(|session| {
                session.sleeps = false;
                session.number
            })
        };
        if let Some(session) = found {
            self.asks(session).await;
        }
    }

    async fn logs_out(&mut self, number: usize) {
        let gateway = self.dice.below(self.lines.count());
        let cookie = self.model.known().sessions[number].cookie.clone();
        let end = self.model.end_begins(Scope::Session(number), gateway, "a logout");
        let told = self.lines.ask(gateway, "logout", "POST /api/logout", &cookie).await;
        // Whether the replicas had it is in the audit log alone.
        let outcome = if told.status == 200 { Outcome::Done { replicated: false } } else { Outcome::Unknown };
        self.model.end_is_over(end, outcome);
    }

    async fn logs_out_everywhere(&mut self, number: usize) {
        let gateway = self.dice.below(self.lines.count());
        let (tenant, cookie) = {
            let session = &self.model.known().sessions[number];
            (session.tenant, session.cookie.clone())
        };
        let end = self.model.end_begins(Scope::User(tenant, self.user), gateway, "a logout everywhere");
        let told = self.lines.ask(gateway, "logout everywhere", "POST /api/auth/revoke-all-tokens", &cookie).await;
        self.model.end_is_over(end, done(&told));
    }

    async fn operates(mut self, users: usize) {
        while !self.stopped.load(Ordering::SeqCst) {
            tokio::time::sleep(self.dice.millis(100, 500)).await;
            let gateway = self.dice.below(self.lines.count());
            let user = self.dice.below(users);
            let tenant = user % TENANTS;
            match self.dice.below(10) {
                0..5 => {
                    let one = one_of(&self.model.known(), user);
                    let Some((number, id)) = one else { continue };
                    let end = self.model.end_begins(Scope::Session(number), gateway, "an end by an operator");
                    let told =
                        self.lines.operate(gateway, "end", &format!("DELETE /v1/sessions/{id}?reason=chaos"), "").await;
                    self.model.end_is_over(end, done(&told));
                }
                5..8 => {
                    let end = self.model.end_begins(Scope::User(tenant, user), gateway, "a revocation of the user");
                    let line = format!("POST /v1/tenants/t{tenant}/users/u{user}/revoke");
                    let told = self.lines.operate(gateway, "revoke a user", &line, r#"{"reason":"chaos"}"#).await;
                    self.model.end_is_over(end, done(&told));
                }
                8 => {
                    let end = self.model.end_begins(Scope::Tenant(tenant), gateway, "a revocation of the tenant");
                    let line = format!("POST /v1/tenants/t{tenant}/revoke");
                    let told = self.lines.operate(gateway, "revoke a tenant", &line, r#"{"reason":"chaos"}"#).await;
                    self.model.end_is_over(end, done(&told));
                }
                _ => self.suspends(gateway, tenant).await,
            }
        }
    }

    /// And restores it, at any gateway, until one has done so.
    async fn suspends(&mut self, gateway: usize, tenant: usize) {
        let line = format!("PUT /v1/tenants/t{tenant}");
        let end = self.model.shutting_out_begins(tenant, gateway);
        let shut = self.model.shut_begins(tenant, true);
        let body = r#"{"status":"suspended","reason":"chaos"}"#;
        let told = self.lines.operate(gateway, "suspend a tenant", &line, body).await;
        self.model.end_is_over(end, done(&told));
        self.model.shut_is_over(shut, done(&told));
        tokio::time::sleep(self.dice.millis(500, 2500)).await;
        while !self.stopped.load(Ordering::SeqCst) {
            let gateway = self.dice.below(self.lines.count());
            let shut = self.model.shut_begins(tenant, false);
            let body = r#"{"status":"active","reason":"chaos"}"#;
            let told = self.lines.operate(gateway, "restore a tenant", &line, body).await;
            self.model.shut_is_over(shut, done(&told));
            if told.status == 200 {
                return;
            }
            tokio::time::sleep(self.dice.millis(100, 300)).await;
        }
    }
}

fn one_of(known: &Known, user: usize) -> Option<(usize, String)> {
    let mut these = known.sessions.iter().rev().filter(|session| session.user == user);
    let session = these.find(|session| session.over.is_none() && !session.sleeps)?;
    Some((session.number, session.id.clone()))
}

fn done(told: &Told) -> Outcome {
    match told.status {
        200 => Outcome::Done { replicated: told.is_replicated() },
        _ => Outcome::Unknown,
    }
}
