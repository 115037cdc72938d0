//! What is open for the session of an exchange: registered before the backend is asked, settled with its answer, and ended
//! with the session.

use http::Response;
use http::header::CONTENT_LENGTH;

use super::body::AnswerBody;
use super::failure::Failure;
use super::follow::Settled;
use super::lookup::Lookup;
use super::services::Gateway;
use crate::policy::IdentityMode;
use crate::sessions::{Cuts, OpenStream};
use crate::upstream::UpstreamBody;

impl Gateway {
    /// Registers what is about to be opened for a session.
    pub(super) fn open_stream(&self, lookup: &Lookup, mode: IdentityMode) -> Option<OpenStream> {
        let Lookup::Live(live) = lookup else { return None };
        Some(self.open_for(live, cuts_of(mode)))
    }

    /// What an answer ends with, after its exchange's session was settled.
    pub(super) fn still_open(
        &self,
        open: Option<OpenStream>,
        settled: &Settled,
        cuts: Cuts,
        answer: &Response<UpstreamBody>,
    ) -> Option<OpenStream> {
        match settled {
            Settled::AsItWas => open,
            Settled::Now(holder, over_at) => Some(self.streams().register(holder.clone(), cuts, *over_at)),
            // The answer that says so is whole, unless nobody knows where it ends.
            Settled::Over if answer.headers().contains_key(CONTENT_LENGTH) => None,
            Settled::Over => open.map(|open| open.another()),
        }
    }
}

/// A backend's answer as that of a session, which goes on for as long as the session lives.
pub(super) fn for_as_long_as(
    open: Option<OpenStream>,
    answer: Result<Response<UpstreamBody>, Failure>,
) -> Result<Response<AnswerBody>, Failure> {
    match answer {
        // Its moment begins now: the answer to a request that was accepted in time is whole, unless it goes on and on.
        Ok(answer) => Ok(answer.map(|body| AnswerBody::of_session(body, open.map(OpenStream::begun_anew)))),
        Err(failure) if failure.blames_the_body() => {
            let over = open.and_then(|open| open.reason());
            Err(over.map_or(failure, |reason| Failure::Denied(reason.into())))
        }
        Err(failure) => Err(failure),
    }
}

/// Which ends of its session end what is open on a route of this mode.
pub(super) fn cuts_of(mode: IdentityMode) -> Cuts {
    if mode == IdentityMode::Observe { Cuts::OnPurpose } else { Cuts::Always }
}
