//! Tokens that sessions have, kept from their browsers in answers: asked for in a way that can be read, overwritten in
//! headers before they go out and in bodies as they do, and told of.

use http::header::{self, HeaderName};
use http::{HeaderValue, Response};
use http_body::Body as _;

use super::app_tokens::Sent;
use super::body::AnswerBody;
use super::exchange::Exchange;
use super::services::Gateway;
use crate::login::read_json;
use crate::upstream::Outgoing;

static ACCEPT_ENCODING: HeaderName = header::ACCEPT_ENCODING;

/// Has the answer to a request searched for the token that goes along with it. Answers the token.
pub(super) fn withhold(exchange: &mut Exchange, sent: Sent) -> HeaderValue {
    if sent.withheld.is_some() {
        exchange.withheld = sent.withheld;
    }
    sent.value
}

/// Asks for an answer that can be searched: what is compressed could not be read.
pub(super) fn ask_for_what_can_be_searched(exchange: &Exchange, request: &mut Outgoing) {
    if exchange.withheld.is_some() {
        request.put(&ACCEPT_ENCODING, &HeaderValue::from_static("identity"));
    }
}

impl Gateway {
    /// Keeps the token of a session from its browser, in an answer that goes out.
    pub(super) fn keep_back(&self, exchange: &mut Exchange, response: &mut Response<AnswerBody>) {
        let Some(withheld) = exchange.withheld.take() else { return };
        if withheld.clean_headers(response.headers_mut()) {
            self.tell_of_withheld(exchange);
        }
        let length = response.body().size_hint().exact();
        if let Some(search) = withheld.search(response.headers(), length, read_json) {
            response.body_mut().searched_by(search);
        }
    }

    /// The app shows its users' tokens, where nobody may have looked for them.
    pub(super) fn tell_of_withheld(&self, exchange: &Exchange) {
        if self.app_tokens().is_some_and(|tokens| tokens.withheld.is_due(self.clock().monotonic())) {
            let (request_id, path) = (exchange.id.as_str(), exchange.path());
            tracing::warn!(
                request_id,
                %path,
                "an answer had a token of the app's in it, and its browser got what stands for that"
            );
        }
    }
}
