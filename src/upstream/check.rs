//! Active checks: a peer is asked every two seconds whether it is well.
//!
//! A check is no user's request: it is counted nowhere, takes no connection from the pool and leaves none there.

use std::future::poll_fn;
use std::sync::Weak;
use std::time::Duration;

use http::{Request, Uri};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::body::RequestBody;
use super::health::HealthCheck;
use super::http1::{BodyFraming, OwnLines, Persistence};
use super::peer::Peer;

/// How often a peer is checked.
const CHECK_EVERY: Duration = Duration::from_secs(2);
/// How long a check may take, connecting included.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

const USER_AGENT: &str = concat!("session-gateway/", env!("CARGO_PKG_VERSION"), " (health check)");

/// Checks a peer for as long as there is one.
pub(super) async fn watch(peer: Weak<Peer>, check: HealthCheck) {
    let mut turns = interval(CHECK_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        turns.tick().await;
        let Some(peer) = peer.upgrade() else { return };
        let outcome = timeout(CHECK_TIMEOUT, ask(&peer, &check)).await;
        peer.note_check(outcome.unwrap_or_else(|_| Err(format!("no answer within {CHECK_TIMEOUT:?}"))));
    }
}

/// Asks once.
async fn ask(peer: &Peer, check: &HealthCheck) -> Result<(), String> {
    let mut connection = peer.fresh_connection(CHECK_TIMEOUT).await.map_err(|error| error.to_string())?;
    let request = Request::get(Uri::from(check.path.clone()))
        .header("host", check.host.clone())
        .header("user-agent", USER_AGENT)
        .body(RequestBody::Empty)
        .map_err(|error| error.to_string())?;
    connection.begin(&request, &OwnLines::default(), BodyFraming::None, Persistence::Close);
    let (head, mut body) = request.into_parts();
    let answer = poll_fn(|context| connection.poll_head(context, &head.method, &mut body)).await;
    let status = answer.map_err(|trouble| trouble.to_string())?.status();
    if status.is_success() || status.is_redirection() { Ok(()) } else { Err(format!("it answered {status}")) }
}
