//! The exchange of an event: the backend does it, the store ends what that ends, then the answer goes out.
//!
//! The backend has acted when the gateway hears of it, and cannot be asked to undo it. So the store is asked whether it
//! is there *before*, an answer that cannot be read hides nothing, and what the store then fails to take it does later by
//! itself (it has a journal), or is tried again here until it does; the client is not told of a success meanwhile. It
//! runs to its end even when the client hangs up: the caller spawns it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, SET_COOKIE};
use http::{Method, Response};

use super::body::AnswerBody;
use super::endpoints::logged_out;
use super::exchange::{Bound, Exchange};
use super::failure::Failure;
use super::follow::{Follower, Settled, Was, settle};
use super::forward::{Cleared, polish, send};
use super::held_token::without_tokens;
use super::lookup::LiveUse;
use super::newcomer::DIGESTS;
use super::outgoing::{ask_for_all, ask_for_what_can_be_read};
use super::questions::Questions;
use super::sealing::Came;
use super::services::Gateway;
use super::verify::verify_tenant;
use crate::audit::{ClientText, Outcome};
use crate::bearer::Bearer;
use crate::entropy::spread;
use crate::http::{EventAnswer, keep_nowhere, with_count};
use crate::login::LoginIdentity;
use crate::policy::{Ending, Event, Guard, Identity, Judgement, Permit, Requester, Route};
use crate::session::{By, Scope, SessionToken, StoreTime, TenantChange, TenantId, TenantStatus, UserAgent, Words};
use crate::sessions::{Cuts, Holder, Issued, Newcomer};
use crate::store::{StoreResult, Unavailable};
use crate::told::{Origin, Told};
use crate::upstream::{Unreadable, UpstreamBody, read_whole};

/// The first and the longest pause before an ending is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

const INVALIDATED: HeaderName = HeaderName::from_static("x-session-invalidated");

/// A request that means something for sessions, with the session that it came with.
pub(super) struct Call<'a> {
    pub(super) event: &'a Arc<Event>,
    pub(super) route: &'a Route,
    pub(super) permit: &'a Permit,
    pub(super) live: &'a LiveUse,
    /// What opens the token that the session has.
    pub(super) cookie: Option<&'a SessionToken>,
    /// Which ends of the session end what is still open of the exchange.
    pub(super) cuts: Cuts,
}

/// A successful answer, as far as it must be held.
enum Held {
    /// It need not be read.
    Streams(UpstreamBody),
    /// All of it, and what it says.
    Whole(Bytes, EventAnswer),
    /// It cannot be read, and so not be passed on.
    Lost(&'static str),
}

/// What was ended.
#[derive(Default)]
struct Ended {
    sessions: u64,
    /// Whether the session of the request was.
    this: bool,
}

/// What a successful answer comes to.
struct Outcomes {
    endings: Vec<Ending>,
    /// Whether the action came to something, be it a refusal: then the answer's count is the gateway's.
    counts: bool,
    switches: bool,
}

/// Runs an event.
pub(super) async fn run(
    gateway: &Arc<Gateway>,
    exchange: &mut Exchange,
    call: &Call<'_>,
    cleared: Box<Cleared>,
) -> Result<Response<AnswerBody>, Failure> {
    let Call { event, live, .. } = *call;
    if !gateway.endings().has_room() {
        return Err(Failure::Store(Unavailable::because("too many endings wait for it")));
    }
    // That there is a store, before the backend has done anything; and its time, so that a revocation from here on wins
    // over a session that a switch of tenants makes.
    let began = gateway.store().begin().await.map_err(Failure::Store)?;
    let path: Vec<String> = cleared.target.segments().map(Cow::into_owned).collect();
    let mut backend = Questions::like(gateway, call.route, &cleared);
    let follower = Follower::of(gateway, call.route, &cleared, live.credential(), Some(Was::Live)).await;
    let (mut parts, body) = ask(gateway, exchange, call, cleared).await?.into_parts();
    let said = parts.headers.clone();
    polish(gateway, exchange, call.permit, &mut parts.headers);
    if !parts.status.is_success() {
        let now = follow(gateway, exchange, live, follower, &mut parts.headers).await?;
        return Ok(Response::from_parts(parts, streamed(gateway, call, now, body)));
    }

    let mut held = hold(gateway, call, &said, body).await;
    let principal = live.principal();
    let requester = Requester { with: live.keep(), principal, path: &path };
    let outcomes = weigh(gateway, exchange, call, requester, &held, &said);
    let answer = match &held {
        Held::Whole(_, answer) => answer,
        Held::Streams(_) => &EventAnswer::Other,
        Held::Lost(_) => &EventAnswer::Unreadable,
    };
    if event.is_done(principal, answer) {
        gateway.note_event(exchange, event, live, &outcomes.endings);
    }
    let counts = outcomes.counts || !outcomes.endings.is_empty();
    let endings = outcomes.endings.into_iter().flat_map(|ending| ending.in_every_tenant(&live.record)).collect();
    let ended = end_all(gateway, exchange, call, endings).await?;
    let mut now = Settled::AsItWas;
    if ended.this {
        exchange.bound = Bound::Over;
        gateway.seal_cookies(exchange, &mut parts.headers).await?;
        logged_out(gateway, live, &mut parts.headers);
    } else if outcomes.switches {
        gateway.check_cookies(exchange, &parts.headers)?;
        let issued = switch_tenant(gateway, exchange, call, began, &said, &mut backend, &mut held, &mut parts.headers);
        let issued = Box::pin(issued).await?;
        now = Settled::Now(Holder::session(issued.id, issued.record.clone()), live.over_at());
        gateway.seal_cookies_anew(exchange, &mut parts.headers, &issued, Came::OfTheSameUser)?;
        parts.headers.append(SET_COOKIE, issued.set_cookie);
        keep_nowhere(&mut parts.headers);
    } else {
        now = follow(gateway, exchange, live, follower, &mut parts.headers).await?;
    }
    if counts {
        parts.headers.insert(INVALIDATED, HeaderValue::from(ended.sessions));
    }
    if counts || ended.this || outcomes.switches {
        // Nobody may ever be told that this answer is still good.
        parts.headers.remove(ETAG);
        parts.headers.remove(LAST_MODIFIED);
    }
    let body = match held {
        Held::Streams(body) => streamed(gateway, call, now, body),
        Held::Whole(body, _) => {
            // The length is the body's own from here on.
            parts.headers.remove(CONTENT_LENGTH);
            let pointer = event.count.as_ref().filter(|_| outcomes.counts);
            match pointer.and_then(|pointer| with_count(&body, pointer, ended.sessions)) {
                Some(counted) => {
                    DIGESTS.iter().for_each(|name| drop(parts.headers.remove(name)));
                    AnswerBody::whole(counted)
                }
                None => AnswerBody::whole(body),
            }
        }
        Held::Lost(why) => return Err(Failure::BadAnswer(why)),
    };
    Ok(Response::from_parts(parts, body))
}

/// Settles what the app did with its own session by an answer that ends nothing of this one.
async fn follow(
    gateway: &Arc<Gateway>,
    exchange: &mut Exchange,
    live: &LiveUse,
    follower: Option<Box<Follower>>,
    headers: &mut HeaderMap,
) -> Result<Settled, Failure> {
    let settled = settle(gateway, exchange, follower, headers).await?;
    if settled == Settled::AsItWas {
        gateway.expose_lifetime(headers, live);
    }
    Ok(settled)
}

/// Has the backend do it. None of the request is left with the client by then, who could else have it done by half a
/// body and hang up before the gateway hears of it.
async fn ask(
    gateway: &Gateway,
    exchange: &mut Exchange,
    call: &Call<'_>,
    mut cleared: Box<Cleared>,
) -> Result<Response<UpstreamBody>, Failure> {
    let open = gateway.open_for(call.live, call.cuts);
    cleared.content.cut_by(&open, false);
    cleared.content.complete_first();
    if reads(gateway, call) {
        ask_for_what_can_be_read(&mut cleared.headers);
        if cleared.method == Method::HEAD {
            // Nor could what is not sent; the app runs the same code for both.
            cleared.method = Method::GET;
        }
    } else {
        ask_for_all(&mut cleared.headers);
    }
    send(gateway, exchange, call.permit, cleared).await.map_err(|failure| match open.reason() {
        Some(reason) if failure.blames_the_body() => Failure::Denied(reason.into()),
        _ => failure,
    })
}

/// An answer that ends with its session, should it go on and on. One that took the session's place has its absolute limit.
fn streamed(gateway: &Gateway, call: &Call<'_>, now: Settled, body: UpstreamBody) -> AnswerBody {
    let open = match now {
        Settled::Now(holder, over_at) => gateway.streams().register(holder, call.cuts, over_at),
        Settled::AsItWas | Settled::Over => gateway.open_for(call.live, call.cuts),
    };
    AnswerBody::of_session(body, Some(open))
}

/// Whether the answer is read: for what it says of the event, or for a token that it has for another tenant.
fn reads(gateway: &Gateway, call: &Call<'_>) -> bool {
    call.event.reads_answer() || (call.event.may_switch() && gateway.app_tokens().is_some())
}

async fn hold(gateway: &Gateway, call: &Call<'_>, said: &HeaderMap, body: UpstreamBody) -> Held {
    if !reads(gateway, call) {
        return Held::Streams(body);
    }
    let Ok(upstream) = gateway.upstream(call.permit) else { return Held::Lost("its upstream is gone") };
    match read_whole(said, body, gateway.config().login.largest_answer(), upstream.patience()).await {
        Ok(body) => {
            let answer = if call.event.reads_answer() { EventAnswer::of(said, &body) } else { EventAnswer::Other };
            Held::Whole(body, answer)
        }
        Err(Unreadable::Content(why)) => Held::Lost(why),
        // So does one that stalls: the backend has done it, and nobody waits for ever.
        Err(Unreadable::Broken(_)) => Held::Lost("it broke off"),
    }
}

/// What is to end; what is not to, although the backend did it, is told.
fn weigh(
    gateway: &Gateway,
    exchange: &Exchange,
    call: &Call<'_>,
    requester: Requester<'_>,
    held: &Held,
    said: &HeaderMap,
) -> Outcomes {
    let event = call.event;
    // The backend may have believed what the client claimed: then nothing that it says of another tenant is verified.
    let claimed = *call.permit.identity() == Identity::AsClaimed;
    let own = &requester.principal.tenant;
    let answer = match held {
        Held::Whole(_, answer) => answer,
        Held::Streams(_) => &EventAnswer::Other,
        Held::Lost(_) => &EventAnswer::Unreadable,
    };
    let request_id = exchange.id.as_str();
    let nothing = |outcome, why, tenant| {
        tracing::warn!(request_id, event = &*event.name, why, "the backend's success ended no session");
        tell_of_nothing(gateway, exchange, event, outcome, why, tenant);
    };
    let mut outcomes = Outcomes { endings: Vec::new(), counts: true, switches: false };
    match event.judge(requester, answer, &gateway.config().identity.rules) {
        Judgement::Nothing => outcomes.counts = false,
        Judgement::Ends(endings) => {
            for ending in endings {
                let tenant = ending.tenant(requester.principal);
                if claimed && event.roles.is_empty() && tenant != own {
                    nothing(Outcome::Denied, "observed_only", Some(tenant.clone()));
                } else {
                    outcomes.endings.extend(of_every_kind(gateway, event, ending));
                }
            }
        }
        Judgement::Refused(Guard::Role) => nothing(Outcome::Denied, "forbidden_role", None),
        Judgement::Refused(Guard::OtherTenant(tenant)) => nothing(Outcome::Denied, "tenant_mismatch", Some(tenant)),
        Judgement::Unclear(why) => nothing(Outcome::Failure, why, None),
    }
    for order in event.orders(said) {
        match order {
            Err(said) => {
                tracing::warn!(request_id, event = &*event.name, "the backend gave an order that is not obeyed here");
                let said = ClientText::of(said.as_bytes());
                let told = Told::EventUnknown { session: exchange.session, said };
                gateway.teller().tell(&origin(exchange, event), &told);
            }
            Ok(_) if !event.counts(requester.principal) => nothing(Outcome::Denied, "forbidden_role", None),
            Ok(order) => match event.ordered(order, requester) {
                Some(ending) if !outcomes.endings.contains(&ending) => outcomes.endings.push(ending),
                Some(_) => {}
                None if claimed => nothing(Outcome::Denied, "observed_only", None),
                // What goes on with another token is the gateway's own; an issuer's says whose it is for as long as it lives.
                None if call.live.token.is_some() => {
                    let said = ClientText::from(order.as_str());
                    let told = Told::EventUnknown { session: exchange.session, said };
                    gateway.teller().tell(&origin(exchange, event), &told);
                }
                None => outcomes.switches = true,
            },
        }
    }
    outcomes
}

/// What ends, of users of every kind where one is named by an id alone: it is not for the gateway to guess which of them
/// the backend means, and to leave one in whom it has thrown out is worse than to log one more out.
fn of_every_kind(gateway: &Gateway, event: &Event, ending: Ending) -> Vec<Ending> {
    match ending {
        Ending::Many { scope: Scope::User { tenant, user }, reason } if event.names_user() => {
            let kinds = gateway.config().login.kinds();
            let users = kinds.into_iter().map(|kind| user.clone().of_kind(kind));
            let scopes = users.map(|user| Scope::User { tenant: tenant.clone(), user });
            scopes.map(|scope| Ending::Many { scope, reason }).collect()
        }
        ending => vec![ending],
    }
}

/// Ends everything that is to end, whatever becomes of one of them. What the store did not take is tried again.
async fn end_all(
    gateway: &Arc<Gateway>,
    exchange: &Exchange,
    call: &Call<'_>,
    endings: Vec<Ending>,
) -> Result<Ended, Failure> {
    let Call { event, live, .. } = *call;
    let mut ended = Ended::default();
    let mut failed: Option<Unavailable> = None;
    for ending in endings {
        ended.this |= ending.includes(&live.record);
        match end(gateway, exchange, event, live, &ending).await {
            Ok(sessions) => ended.sessions += sessions,
            Err(unavailable) => {
                let (request_id, cause) = (exchange.id.as_str(), &unavailable.cause);
                tracing::error!(request_id, event = &*event.name, cause, "an event could not end sessions yet");
                let tenant = Some(ending.tenant(&live.record.principal).clone());
                tell_of_nothing(gateway, exchange, event, Outcome::Failure, "store_unavailable", tenant);
                // Somebody else may shut the tenant out again meanwhile, and to restore it late would let it in.
                let restores = matches!(ending, Ending::Status { status: TenantStatus::Active, .. });
                if !unavailable.comes_late && !restores {
                    keep_trying(gateway, exchange, event, live, ending);
                }
                failed = Some(unavailable);
            }
        }
    }
    failed.map_or(Ok(ended), |unavailable| Err(Failure::Store(unavailable)))
}

async fn end(
    gateway: &Gateway,
    exchange: &Exchange,
    event: &Event,
    live: &LiveUse,
    ending: &Ending,
) -> StoreResult<u64> {
    let (sessions, origin) = (gateway.sessions(), origin(exchange, event));
    match ending {
        Ending::This(reason) => gateway.end_use(&origin, live, *reason).await.map(u64::from),
        Ending::Many { scope, reason } => {
            sessions.end_all_of(&origin, scope.clone(), *reason).await.map(|revoked| revoked.ended)
        }
        Ending::Status { tenant, status, reason } => {
            let (words, by) = (Words::default(), origin.by.clone());
            let change = TenantChange { status: *status, reason: *reason, words, by };
            sessions.change_tenant(&origin, tenant.clone(), change).await.map(|revoked| revoked.ended)
        }
    }
}

/// That something goes back to the event of a request.
fn origin(exchange: &Exchange, event: &Event) -> Origin {
    exchange.origin(By::Event(Box::from(&*event.name)))
}

/// Tells that an event would have ended sessions, and did not.
fn tell_of_nothing(
    gateway: &Gateway,
    exchange: &Exchange,
    event: &Event,
    outcome: Outcome,
    why: &'static str,
    tenant: Option<TenantId>,
) {
    let told = Told::EventEndedNothing { outcome, why, tenant, session: exchange.session };
    gateway.teller().tell(&origin(exchange, event), &told);
}

/// Tries again until the store takes it, or takes it up, or until nothing can be left to end. No event begins while
/// as many wait as may: there are never more than these and those that were in flight then.
fn keep_trying(gateway: &Arc<Gateway>, exchange: &Exchange, event: &Arc<Event>, live: &LiveUse, ending: Ending) {
    let (gateway, exchange, event, live) = (gateway.clone(), exchange.clone(), event.clone(), live.clone());
    let limits = &gateway.config().session.limits;
    let of_tokens = gateway.bearer().map_or(Duration::ZERO, Bearer::longest);
    let longest = limits.absolute.max(limits.remember).max(of_tokens);
    let waiting = gateway.endings().wait();
    gateway.tasks().clone().spawn(async move {
        let _waiting = waiting;
        let request_id = exchange.id.as_str();
        let began = gateway.clock().monotonic();
        let (mut pause, longest_pause) = PAUSES;
        while gateway.clock().monotonic().since(began) < longest {
            tokio::time::sleep(spread(pause)).await;
            match end(&gateway, &exchange, &event, &live, &ending).await {
                Ok(sessions) => {
                    tracing::warn!(request_id, event = &*event.name, sessions, "an event ended sessions late");
                    return;
                }
                Err(unavailable) if unavailable.comes_late => return,
                Err(_) => {}
            }
            pause = (pause * 2).min(longest_pause);
        }
        tracing::error!(
            request_id,
            event = &*event.name,
            "gave up: the sessions that an event was to end are over by time"
        );
    });
}

/// Goes on with a new token in the tenant that the backend names, for no longer than the session had. The old token
/// works a moment more. A token that the answer has for it is taken out of it, and kept.
#[expect(clippy::too_many_arguments, reason = "it is one step of a long exchange, and changes its answer")]
async fn switch_tenant(
    gateway: &Arc<Gateway>,
    exchange: &mut Exchange,
    call: &Call<'_>,
    began: StoreTime,
    said: &HeaderMap,
    backend: &mut Questions,
    held: &mut Held,
    headers: &mut HeaderMap,
) -> Result<Issued, Failure> {
    let (config, live) = (gateway.config(), call.live);
    let principal = match LoginIdentity::from_switch(said, &live.record.principal.user, &config.identity.rules) {
        LoginIdentity::Principal(principal, _) => principal,
        LoginIdentity::None => return Err(Failure::BadIdentity("a switch of tenants names none in X-Session-Tenant")),
        LoginIdentity::Bad(why) => return Err(Failure::BadIdentity(why)),
    };
    backend.receive_cookies(gateway, said);
    verify_tenant(gateway, exchange, backend, &principal).await?;
    // Within the tenant the same answer may have ended the user's other sessions, which must not end this switch as well.
    // What others end the old session would not survive, and a switch from a session that is over is none. One with several
    // tenants would survive it.
    let within = principal.tenant == live.record.principal.tenant && live.record.ends_with_its_tenant();
    let began = if within { gateway.store().begin().await.map_err(Failure::Store)? } else { began };
    let body = if let Held::Whole(body, _) = &*held { body.clone() } else { Bytes::new() };
    let moving = gateway.move_token(live, call.cookie, &principal, &body).await?;
    if let Some(moving) = &moving {
        let body = without_tokens(moving.token(), moving.left(), headers, body);
        if let Held::Whole(held, _) = held {
            *held = body;
        }
    }
    let newcomer = Newcomer {
        deposit: moving.as_ref().and_then(|moving| moving.deposit(gateway)),
        principal,
        // Those of the session that it goes on from.
        tenants: Vec::new(),
        remembered: live.record.remembered,
        address: Some(exchange.client.get()),
        user_agent: UserAgent::of(exchange.user_agent.as_ref().map(HeaderValue::as_bytes)),
        began,
    };
    let origin = origin(exchange, call.event);
    let issued = gateway.sessions().rotate(&origin, gateway.terms(), newcomer, live.id, &live.record).await?;
    (exchange.session, exchange.principal) = (Some(issued.id), Some(Arc::clone(&issued.record.principal)));
    if let Some(moving) = moving {
        moving.moved(gateway, &origin, live, &issued).await;
    }
    Ok(issued)
}
