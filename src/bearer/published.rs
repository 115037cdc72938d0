//! The keys of one issuer as it publishes them: asked for again and again, and once more where a token names a key that is
//! not among them.
//!
//! Keys that cannot be asked for are no reason to call a token bad: what is known counts for a day, and after that nobody
//! can tell. Whoever makes up names of keys has the issuer asked no more than twice a minute.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, HOST, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::rules::JwksAddress;
use crate::clock::{Monotonic, SharedClock};
use crate::jwt::{Algorithm, KeySet, LARGEST_SET};
use crate::telemetry::Metrics;
use crate::upstream::{Balance, RequestBody, Upstream, UpstreamSettings, read_whole};

/// How long asking may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two times that a token has the issuer asked.
const ASKED_AGAIN: Duration = Duration::from_secs(30);
/// How often it is asked without that, unless its answer says how long that is good for.
const USUALLY: Duration = Duration::from_secs(600);
const SHORTEST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);
/// After it could not be asked.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// For how long what is known counts while it cannot be asked.
const OLDEST: Duration = Duration::from_secs(86_400);

const AGENT: &str = concat!("session-gateway/", env!("CARGO_PKG_VERSION"));

/// Keys as they were published.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) keys: KeySet,
    /// Rises whenever they are others.
    pub(super) version: u64,
    /// When they were last seen to be published.
    seen: Monotonic,
}

/// What asking came to the last time.
#[derive(Clone, Copy, Default)]
struct Attempt {
    /// When a token last had the issuer asked.
    for_a_token: Option<Monotonic>,
    ended_well: bool,
}

/// The keys of one issuer.
pub(super) struct Published {
    issuer: Box<str>,
    algorithms: Vec<Algorithm>,
    address: JwksAddress,
    client: Upstream,
    clock: SharedClock,
    known: ArcSwapOption<Known>,
    /// Held while it is asked: one at a time, and the others learn what came of it.
    attempt: Mutex<Attempt>,
}

impl Published {
    pub(super) fn new(
        issuer: &str,
        algorithms: &[Algorithm],
        address: JwksAddress,
        clock: &SharedClock,
        metrics: &Metrics,
    ) -> Self {
        let settings = UpstreamSettings {
            name: format!("jwks {issuer}").into(),
            peers: vec![address.peer.clone()],
            balance: Balance::RoundRobin,
            health: None,
            eject: None,
            trust: address.trust.clone(),
            keepalive: None,
            connect_timeout: PATIENCE,
            response_timeout: PATIENCE,
        };
        Self {
            issuer: issuer.into(),
            algorithms: algorithms.to_vec(),
            client: Upstream::new(settings, clock, metrics),
            address,
            clock: clock.clone(),
            known: ArcSwapOption::empty(),
            attempt: Mutex::default(),
        }
    }

    /// The keys, if anybody can tell which they are.
    pub(super) fn known(&self) -> Option<Arc<Known>> {
        let known = self.known.load_full()?;
        (self.clock.monotonic().since(known.seen) < OLDEST).then_some(known)
    }

    /// Whether the keys are still those of this version.
    pub(super) fn is_still(&self, version: u64) -> bool {
        let known = self.known.load();
        let is_recent = |known: &Arc<Known>| self.clock.monotonic().since(known.seen) < OLDEST;
        known.as_ref().is_some_and(|known| known.version == version && is_recent(known))
    }

    /// Has the issuer asked, because a token names a key that is not known; unless it was asked for one a moment ago. Answers
    /// whether what is known now is what is published. Goes on when the caller does not wait for it.
    pub(super) async fn look_again(self: &Arc<Self>) -> bool {
        let published = Arc::clone(self);
        let looking = tokio::spawn(async move {
            let mut attempt = published.attempt.lock().await;
            let now = published.clock.monotonic();
            if attempt.for_a_token.is_none_or(|asked| now.since(asked) >= ASKED_AGAIN) {
                // Claimed before it is asked: whoever comes meanwhile waits, and does not ask.
                attempt.for_a_token = Some(now);
                attempt.ended_well = published.ask().await.is_some();
            }
            attempt.ended_well
        });
        timeout(2 * PATIENCE, looking).await.is_ok_and(|looked| looked.unwrap_or(false))
    }

    /// Asks; answers when to ask next.
    pub(super) async fn keep_fresh(&self) -> Duration {
        let mut attempt = self.attempt.lock().await;
        let asked = self.ask().await;
        attempt.ended_well = asked.is_some();
        asked.unwrap_or(AFTER_FAILURE)
    }

    /// Asks once; answers for how long the answer is good.
    async fn ask(&self) -> Option<Duration> {
        let asked = self.clock.monotonic();
        let answer = match timeout(PATIENCE, self.fetch()).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        };
        let read = answer.and_then(|(good_for, body)| {
            let keys =
                KeySet::from_jwks(&body, &self.algorithms).map_err(|fault| format!("what it answers {fault}"))?;
            Ok((good_for, keys))
        });
        match read {
            Ok((good_for, keys)) => {
                self.take_over(keys, asked);
                Some(good_for)
            }
            Err(why) => {
                tracing::warn!(issuer = &*self.issuer, why, "the keys of an issuer of tokens cannot be had");
                None
            }
        }
    }

    fn take_over(&self, keys: KeySet, seen: Monotonic) {
        let before = self.known.load_full();
        let version = match &before {
            Some(before) if before.keys == keys => before.version,
            Some(before) => before.version + 1,
            None => 0,
        };
        if before.as_ref().is_none_or(|before| before.version != version) {
            tracing::info!(issuer = &*self.issuer, version, "the keys of an issuer of tokens are others");
        }
        self.known.store(Some(Arc::new(Known { keys, version, seen })));
    }

    async fn fetch(&self) -> Result<(Duration, Bytes), String> {
        let request = Request::get(Uri::from(self.address.target.clone()))
            .header(HOST, self.address.host.clone())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .body(RequestBody::Empty)
            .map_err(|error| error.to_string())?;
        let (head, body) = self.client.send(request).await.map_err(|error| error.to_string())?.into_parts();
        // Nor is it asked elsewhere: a redirect is no key set.
        if head.status != StatusCode::OK {
            return Err(format!("it answered {}", head.status));
        }
        let body = read_whole(&head.headers, body, LARGEST_SET, PATIENCE).await.map_err(|error| error.to_string())?;
        Ok((good_for(&head.headers), body))
    }
}

/// For how long an answer says that it is good, within bounds.
fn good_for(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(CACHE_CONTROL).into_iter().filter_map(|line| HeaderValue::to_str(line).ok());
    let seconds = lines.flat_map(|line| line.split(',')).find_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| seconds.trim().parse().ok())?
    });
    seconds.map_or(USUALLY, |seconds| Duration::from_secs(seconds).clamp(SHORTEST, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_for_as_long_as_it_says_within_bounds() {
        for (line, seconds) in [
            (None, 600),
            (Some("public"), 600),
            (Some("public, max-age=300"), 300),
            (Some("Max-Age = 300"), 300),
            (Some("max-age=0"), 60),
            (Some("max-age=86400"), 3600),
            (Some("max-age=-1"), 600),
            (Some("s-maxage=300"), 600),
        ] {
            let lines = line.map(|line| (CACHE_CONTROL, HeaderValue::from_static(line)));
            assert_eq!(good_for(&lines.into_iter().collect()), Duration::from_secs(seconds), "{line:?}");
        }
    }
}
