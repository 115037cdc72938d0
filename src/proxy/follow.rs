//! Following the app's own logins (docs/behaviour.md, "Following"): an answer that sets a followed cookie is held until
//! the backend has said whose it is, and goes out with the gateway's cookie of the same user.
//!
//! Both cookies travel in one answer, so that whatever overtakes what, a browser never has one user's of the app and
//! another's of the gateway for longer than until the next answer. What cannot be told changes nothing; what the store does
//! not take is not passed on. A session that was ended on purpose while the exchange was under way is not made again.

use std::sync::Arc;

use http::Method;
use http::header::{HeaderMap, LOCATION, SET_COOKIE};
use sha2::{Digest as _, Sha256};

use super::endpoints::take_session;
use super::exchange::{Bound, Exchange};
use super::failure::Failure;
use super::forward::Cleared;
use super::lookup::{LiveUse, Lookup, look_up};
use super::newcomer::{Vouched, end_replaced, give, make_session, tell_of_none};
use super::questions::{Questions, unix_seconds};
use super::sealing::Came;
use super::services::Gateway;
use super::verify::verify_login;
use crate::clock::Monotonic;
use crate::config::Login;
use crate::http::is_safe;
use crate::login::{Capture, Change, Question, Said, WithoutTenant};
use crate::policy::Route;
use crate::seal::Binding;
use crate::session::{By, Credential, EndReason, Principal, SessionRecord, TenantId, UserKind};
use crate::sessions::Holder;
use crate::told::{NoLogin, Source};

/// What is to be known of a request before it is sent.
pub(super) struct Follower {
    questions: Questions,
    credential: Credential,
    was: Was,
}

/// What the session was that a request presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Was {
    Live,
    Held,
    Neither,
}

impl Was {
    pub(super) const fn found(lookup: &Lookup) -> Self {
        match lookup {
            Lookup::Live(_) => Self::Live,
            Lookup::Held(_) => Self::Held,
            _ => Self::Neither,
        }
    }
}

/// What became of the session of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Nothing.
    AsItWas,
    /// It has this one now, which is over at that moment at the latest.
    Now(Holder, Monotonic),
    /// It has none any more.
    Over,
}

/// What an answer of the backend about its user comes to.
#[derive(Debug)]
enum Conclusion<'a> {
    Nothing,
    Make(Principal, Vec<TenantId>),
    End(&'a LiveUse),
}

impl Follower {
    /// `None` where nothing is followed. `was`: what the session is that was presented; `None` where none was looked up.
    pub(super) async fn of(
        gateway: &Gateway,
        route: &Route,
        cleared: &Cleared,
        credential: Credential,
        was: Option<Was>,
    ) -> Option<Box<Self>> {
        // Whoever comes with a token gets no cookie.
        if !gateway.config().login.follows() || credential == Credential::Bearer {
            return None;
        }
        let was = match was {
            Some(was) => was,
            // Which end came before the request, and which during it, is told by this.
            None => {
                let limits = &gateway.config().session.limits;
                Was::found(&look_up(gateway.store(), gateway.clock(), credential, limits).await)
            }
        };
        Some(Box::new(Self { questions: Questions::like(gateway, route, cleared), credential, was }))
    }

    /// Settles whose session it is after an answer with these headers, which the client has not seen yet; the app's own
    /// cookies in them are sealed for that one.
    pub(super) async fn settle(
        self,
        gateway: &Arc<Gateway>,
        exchange: &mut Exchange,
        headers: &mut HeaderMap,
    ) -> Result<Settled, Failure> {
        let settled = self.follow(gateway, exchange, headers).await?;
        if settled == Settled::AsItWas {
            gateway.seal_cookies(exchange, headers).await?;
        }
        Ok(settled)
    }

    async fn follow(
        self,
        gateway: &Arc<Gateway>,
        exchange: &mut Exchange,
        headers: &mut HeaderMap,
    ) -> Result<Settled, Failure> {
        let config = gateway.config();
        let Some((login, change)) = self.change(gateway, headers) else { return Ok(Settled::AsItWas) };
        let again = may_change_users(exchange, headers);
        if !change.is_new && !again {
            return Ok(Settled::AsItWas);
        }
        let Capture::Whoami { target, .. } = &login.rules.capture else { return Ok(Settled::AsItWas) };
        let segments: Vec<_> = target.segments().collect();
        let route = config.routes.pick(&Method::GET, &segments, target.path().ends_with('/'));
        let value = self.value(&change);
        let Self { questions, credential, was } = self;
        let before = questions.browser.question(target);
        let questions = questions.about(change.browser, route);
        let Some(turn) = gateway.asked_about().turn(value, again, questions.patience(gateway)?).await else {
            return Ok(Settled::AsItWas);
        };

        // Before the backend is asked: a revocation from here on wins. Whether it is needed is not known yet.
        let began = gateway.store().begin().await;
        let said = ask(gateway, exchange, &questions, login, questions.browser.question(target)).await;
        if let Said::Unclear(why) = said {
            if gateway.unclear().is_due(gateway.clock().monotonic()) {
                let (request_id, path) = (exchange.id.as_str(), exchange.path());
                tracing::warn!(request_id, %path, why, "whose the app's new cookie is cannot be told: nothing changes");
            }
            return Ok(Settled::AsItWas);
        }
        // Whom the app knew before has not logged in by this, and what is held stays so.
        if was == Was::Held && !is_new(&ask(gateway, exchange, &questions, login, before).await, &said) {
            return Ok(Settled::AsItWas);
        }
        let now = look_up(gateway.store(), gateway.clock(), credential, &config.session.limits).await;
        let settled = match conclude(
            as_known(said, login.rules.users.without_tenant, &now),
            login.rules.users.kind.as_ref(),
            was,
            &now,
        )? {
            Conclusion::Nothing => {
                turn.remember();
                return Ok(Settled::AsItWas);
            }
            Conclusion::End(live) => end(gateway, exchange, headers, live).await?,
            Conclusion::Make(principal, tenants) => {
                let began = began.map_err(Failure::Store)?;
                let remembered = matches!(&now, Lookup::Live(live) if live.record.remembered
                    && live.record.principal.user == principal.user);
                let source = Source::Followed;
                let vouched = Vouched { principal, tenants, source, remembered, began, deposit: None };
                make(gateway, exchange, headers, questions, vouched, credential).await?
            }
        };
        turn.settle();
        // Whoever is told of it can rely on a line that says so.
        gateway.teller().written().await;
        Ok(settled)
    }

    /// Whether an answer with these headers sets a followed cookie to a new value, by which it can be told who logged in. Not
    /// where the session is held: whom the app knew before it knows after, too.
    pub(super) fn may_tell(&self, gateway: &Gateway, headers: &HeaderMap) -> bool {
        self.was != Was::Held && self.change(gateway, headers).is_some_and(|(_, change)| change.is_new)
    }

    /// What they set or take, and of which login.
    fn change<'a>(&self, gateway: &'a Gateway, headers: &HeaderMap) -> Option<(&'a Login, Change)> {
        if !headers.contains_key(SET_COOKIE) {
            return None;
        }
        gateway.config().login.logins.iter().find_map(|login| {
            let names: Vec<&str> = login.follow.iter().map(String::as_str).collect();
            let change = Change::of(&self.questions.browser, &names, headers, unix_seconds(gateway));
            change.map(|change| (login, change))
        })
    }

    /// What stands for the value, and for the session beside which it was set: it means the same there, and need not
    /// elsewhere.
    fn value(&self, change: &Change) -> [u8; 16] {
        let mut hash = Sha256::new();
        if let Credential::Session(id) = self.credential {
            hash.update(id.as_bytes());
        }
        hash.update(b"\n");
        hash.update(&change.now);
        let digest: [u8; 32] = hash.finalize().into();
        digest.first_chunk().copied().unwrap_or_default()
    }
}

/// Whether somebody has come in whom the app did not know before.
fn is_new(before: &Said, now: &Said) -> bool {
    match (before, now) {
        (Said::Nobody, _) => true,
        (Said::Somebody(before, _), Said::Somebody(now, _)) => before != now,
        (Said::Somebody(..), Said::Nobody | Said::Unclear(_)) | (Said::Unclear(_), _) => false,
    }
}

/// What the backend says whose the cookies of a question are.
async fn ask(
    gateway: &Gateway,
    exchange: &mut Exchange,
    questions: &Questions,
    login: &Login,
    question: Question,
) -> Said {
    match questions.ask(gateway, exchange, question).await {
        Ok(reply) => {
            let page = login.login_url.split('?').next().unwrap_or_default();
            let rules = &gateway.config().identity.rules;
            login.rules.said(reply.status, &reply.headers, &reply.body, page, rules)
        }
        Err(_) => Said::Unclear("the whoami path did not answer"),
    }
}

/// Settles whose session it is, where anything is followed; else the app's own cookies are sealed for the session that it
/// was.
pub(super) async fn settle(
    gateway: &Arc<Gateway>,
    exchange: &mut Exchange,
    follower: Option<Box<Follower>>,
    headers: &mut HeaderMap,
) -> Result<Settled, Failure> {
    match follower {
        Some(follower) => Box::pin(follower.settle(gateway, exchange, headers)).await,
        None if gateway.sealed_cookies().is_none() => Ok(Settled::AsItWas),
        None => Box::pin(gateway.seal_cookies(exchange, headers)).await.map(|()| Settled::AsItWas),
    }
}

/// Whether somebody else may have logged in with an exchange, and the app kept its session's id: it changes something, or
/// is a page that a person asked for, or leads to one. What scripts read is not asked about for each answer.
fn may_change_users(exchange: &Exchange, answer: &HeaderMap) -> bool {
    !is_safe(&exchange.method) || exchange.asks_for_page || answer.contains_key(LOCATION)
}

/// Of a user of whom another question tells the tenant, the one that was told is theirs still.
fn as_known(said: Said, without_tenant: WithoutTenant, now: &Lookup) -> Said {
    match (said, now) {
        (Said::Somebody(principal, tenants), Lookup::Live(live))
            if without_tenant == WithoutTenant::Asked
                && principal.tenant.name().is_none()
                && (&principal.user, &principal.role) == (&live.record.principal.user, &live.record.principal.role) =>
        {
            Said::Somebody(Principal::clone(&live.record.principal), tenants)
        }
        (said, _) => said,
    }
}

/// What follows from what the backend says of a browser whose session is this `now`.
fn conclude<'a>(said: Said, kind: Option<&UserKind>, was: Was, now: &'a Lookup) -> Result<Conclusion<'a>, Failure> {
    match (said, now) {
        (Said::Somebody(principal, tenants), Lookup::Live(live))
            if *live.record.principal == principal && has_these_tenants(&live.record, &tenants) =>
        {
            Ok(Conclusion::Nothing)
        }
        (_, Lookup::Unavailable(_, unavailable)) => Err(Failure::Store(unavailable.clone())),
        // It ended while the request was under way: by its user, say. A late answer brings nobody back.
        (Said::Somebody(..), Lookup::Ended(ended)) if was == Was::Live && ends_for_good(ended.reason) => {
            Ok(Conclusion::Nothing)
        }
        // It was held meanwhile, and it was not by this that somebody logged in again.
        (Said::Somebody(..), Lookup::Held(_)) if was == Was::Live => Ok(Conclusion::Nothing),
        (Said::Somebody(principal, tenants), _) => Ok(Conclusion::Make(principal, tenants)),
        // Users of another kind have a cookie of their own.
        (Said::Nobody, Lookup::Live(live)) if live.record.principal.user.kind() == kind.map(UserKind::as_str) => {
            Ok(Conclusion::End(live))
        }
        (Said::Nobody | Said::Unclear(_), _) => Ok(Conclusion::Nothing),
    }
}

/// Whether its user may choose from these tenants beside its own, and from no others: a login may list fewer than before.
fn has_these_tenants(record: &SessionRecord, tenants: &[TenantId]) -> bool {
    let own = &record.principal.tenant;
    let has = |tenant: &TenantId| record.tenants().any(|(one, _)| one == tenant);
    record.tenants().all(|(one, _)| one == own || tenants.contains(one)) && tenants.iter().all(has)
}

/// Whether a session is over because somebody wanted that, and not because of time or of another login.
const fn ends_for_good(reason: EndReason) -> bool {
    !matches!(reason, EndReason::IdleTimeout | EndReason::Expired | EndReason::Replaced)
}

/// Ends the session, whoever still listens.
async fn end(
    gateway: &Arc<Gateway>,
    exchange: &mut Exchange,
    headers: &mut HeaderMap,
    live: &LiveUse,
) -> Result<Settled, Failure> {
    let (on, origin, live) = (gateway.clone(), exchange.origin(By::User), live.clone());
    let ended = gateway
        .tasks()
        .spawn(async move { on.sessions().end(&origin, live.id, &live.record, EndReason::Logout).await });
    ended.await.map_err(|_| broke_off())?.map_err(Failure::Store)?;
    // What the app sets by now it sets for nobody.
    exchange.bound = Bound::To(Binding::NoSession);
    gateway.seal_cookies(exchange, headers).await?;
    take_session(gateway, headers);
    Ok(Settled::Over)
}

/// Makes a session in the place of the one that the request came with, whoever still listens.
async fn make(
    gateway: &Arc<Gateway>,
    exchange: &mut Exchange,
    headers: &mut HeaderMap,
    questions: Questions,
    vouched: Vouched,
    credential: Credential,
) -> Result<Settled, Failure> {
    gateway.check_cookies(exchange, headers)?;
    let (on, mut of) = (gateway.clone(), exchange.clone());
    let made = gateway.tasks().spawn(async move {
        let made = async {
            let principal = verify_login(&on, &mut of, &questions, vouched.principal).await?;
            let issued = make_session(&on, &mut of, Vouched { principal, ..vouched }, credential).await?;
            if let Some(released) = end_replaced(&on, &mut of, credential, &issued).await? {
                on.watch().logged_in_again(&issued.record.principal, released);
            }
            Ok(issued)
        };
        let made = made.await;
        if let Err(failure) = &made {
            let refused = Failure::refuses_the_login(failure);
            tell_of_none(&on, &of, if refused { NoLogin::Refused(failure.code()) } else { NoLogin::Unanswered });
        }
        made
    });
    let issued = made.await.map_err(|_| broke_off())??;
    (exchange.session, exchange.principal) = (Some(issued.id), Some(issued.record.principal.clone()));
    if let Err(failure) = gateway.seal_cookies_anew(exchange, headers, &issued, Came::OfWhoever) {
        gateway.sessions().take_back(&exchange.origin(By::Gateway), &issued).await;
        return Err(failure);
    }
    let lives = issued.record.deadline.since(issued.record.created);
    let holder = Holder::session(issued.id, issued.record.clone());
    let settled = Settled::Now(holder, gateway.clock().monotonic().after(lives));
    give(headers, issued);
    Ok(settled)
}

fn broke_off() -> Failure {
    Failure::Internal(String::from("the following of a login broke off"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::proxy::lookup::{EndedUse, tests::live_use};
    use crate::session::{SessionId, SessionToken, TenantId, UserId};
    use crate::store::Unavailable;

    fn somebody(tenant: &str, user: &str, kind: Option<&str>) -> Principal {
        let kind = kind.map(|kind| UserKind::parse(kind).expect("a kind"));
        let user = UserId::parse(user).expect("a user").of_kind(kind.as_ref());
        Principal { tenant: TenantId::parse(tenant).expect("a tenant"), user, role: None }
    }

    fn id() -> SessionId {
        SessionToken::generate(&SystemEntropy).expect("entropy").id()
    }

    fn ended(reason: EndReason) -> Lookup {
        Lookup::Ended(EndedUse { id: id(), reason, record: None, noted: true, next: None })
    }

    #[test]
    fn somebody_else_replaces_nobody_ends_and_what_was_ended_meanwhile_stays_so() {
        let alice = || Lookup::Live(live_use(id(), somebody("42", "7", None)));
        let bob = || Said::Somebody(somebody("77", "7", None), Vec::new());
        let down = || Lookup::Unavailable(id(), Unavailable::because("it is away"));
        for (row, said, was_live, now, expected) in [
            ("the same", Said::Somebody(somebody("42", "7", None), Vec::new()), true, alice(), "nothing"),
            ("somebody else", bob(), true, alice(), "make"),
            (
                "the same id of another kind",
                Said::Somebody(somebody("42", "7", Some("admin")), Vec::new()),
                true,
                alice(),
                "make",
            ),
            (
                "the same in another tenant",
                Said::Somebody(somebody("77", "7", None), Vec::new()),
                true,
                alice(),
                "make",
            ),
            ("nobody", Said::Nobody, true, alice(), "end"),
            ("somebody and no session", bob(), false, Lookup::NoCredential, "make"),
            ("a cookie that is none", bob(), false, Lookup::Unknown(None), "make"),
            ("nobody and no session", Said::Nobody, false, Lookup::NoCredential, "nothing"),
            ("nobody, and over", Said::Nobody, true, ended(EndReason::Logout), "nothing"),
            ("over long ago", bob(), false, ended(EndReason::Revoked), "make"),
            ("over by time meanwhile", bob(), true, ended(EndReason::IdleTimeout), "make"),
            ("another login meanwhile", bob(), true, ended(EndReason::Replaced), "make"),
            ("logged out meanwhile", bob(), true, ended(EndReason::Logout), "nothing"),
            ("revoked meanwhile", bob(), true, ended(EndReason::UserRevoked), "nothing"),
            ("the store is away", bob(), true, down(), "store"),
            ("the store is away, and nobody", Said::Nobody, true, down(), "store"),
        ] {
            let was = if was_live { Was::Live } else { Was::Neither };
            let conclusion = match conclude(said, None, was, &now) {
                Ok(Conclusion::Nothing) => "nothing",
                Ok(Conclusion::Make(..)) => "make",
                Ok(Conclusion::End(_)) => "end",
                Err(_) => "store",
            };
            assert_eq!(conclusion, expected, "{row}");
        }
        let admin = UserKind::parse("admin").expect("a kind");
        let now = alice();
        let other = conclude(Said::Nobody, Some(&admin), Was::Live, &now);
        assert!(matches!(other, Ok(Conclusion::Nothing)), "no admin is there, and a user is");
    }
}
