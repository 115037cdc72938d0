//! Alerts to webhooks, by the client that asks backends: its times and sizes are bounded, and it follows no redirect.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, Request, StatusCode, Uri};

use super::formats::{Telling, body};
use super::parcel::{Handed, Parcel};
use super::rules::WebhookRules;
use crate::clock::SharedClock;
use crate::session::StoreTime;
use crate::upstream::{Balance, RequestBody, Unobserved, Upstream, UpstreamSettings};

/// How long connecting, and each further step, may take.
const PATIENCE: Duration = Duration::from_secs(8);

const AGENT: &str = concat!("session-gateway/", env!("CARGO_PKG_VERSION"));
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What it answered. Its words are not read: many name the path that was asked for, which is often the webhook's secret, and
/// what is wrong is shown to many.
struct Answer {
    status: StatusCode,
    /// Before what is over it does not want to be told anything.
    pause: Option<Duration>,
}

/// Who tells a webhook.
pub(super) struct Caller {
    site: Box<str>,
    rules: WebhookRules,
    client: Upstream,
}

impl Caller {
    pub(super) fn new(site: &str, rules: &WebhookRules, clock: &SharedClock) -> Self {
        let settings = UpstreamSettings {
            name: rules.queue.clone().into(),
            peers: vec![rules.peer.clone()],
            balance: Balance::RoundRobin,
            health: None,
            eject: None,
            trust: rules.trust.clone(),
            keepalive: None,
            connect_timeout: PATIENCE,
            response_timeout: PATIENCE,
        };
        Self { site: site.into(), rules: rules.clone(), client: Upstream::new(settings, clock, &Unobserved) }
    }

    /// Tells it.
    pub(super) async fn call(&self, parcel: &Parcel<'_>) -> Handed {
        let telling = Telling { site: &self.site, id: &parcel.waiting.id, subject: parcel.subject };
        let Some(body) = body(&self.rules.format, &telling) else {
            return Handed::Never(String::from("this format tells of one finding at a time"));
        };
        let Some(request) = self.request(parcel, body.to_string()) else {
            return Handed::Never(String::from("it cannot be written"));
        };
        match self.answer(request).await {
            Ok(Answer { status, .. }) if status.is_success() => Handed::Over(status.to_string()),
            // It is this alert that is not taken.
            Ok(Answer { status, .. }) if matches!(status.as_u16(), 400 | 410 | 413 | 422) => {
                Handed::Never(format!("it answered {status}"))
            }
            Ok(Answer { status, pause }) => Handed::ToNobody(format!("it answered {status}"), pause),
            Err(error) => Handed::to_nobody(error),
        }
    }

    fn request(&self, parcel: &Parcel<'_>, body: String) -> Option<Request<RequestBody>> {
        let id = parcel.waiting.id.as_str();
        let target: Uri = self.rules.target.expose_secret().parse().ok()?;
        let mut request = Request::post(target)
            .header(HOST, self.rules.host.clone())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT_ENCODING, "identity")
            .header(ID, id);
        if let Some(key) = self.rules.format.signing_key() {
            let seconds = seconds(parcel.now);
            let signature = key.sign(id, seconds, &body);
            request = request.header(TIMESTAMP, seconds).header(SIGNATURE, signature);
        }
        request.body(RequestBody::Full(Bytes::from(body))).ok()
    }

    async fn answer(&self, request: Request<RequestBody>) -> Result<Answer, String> {
        let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
        Ok(Answer { status: answer.status(), pause: retry_after(answer.headers()) })
    }
}

/// When it asks to be told again, in seconds from now; a date, which nobody sends here, is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

const fn seconds(time: StoreTime) -> u64 {
    time.as_micros() / 1_000_000
}
