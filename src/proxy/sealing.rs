//! The app's own cookies of an exchange (`identity.seal_cookies`): opened on the way in, sealed on the way out.
//!
//! To which session they are bound is what the look-up showed. On a public route none is made; one is made here, only
//! when such a cookie comes or goes, so that what an ended session had is of no use there either.

use http::header::HeaderMap;

use super::exchange::{Bound, Exchange};
use super::failure::Failure;
use super::forward::Cleared;
use super::lookup::{Lookup, look_at};
use super::services::Gateway;
use crate::seal::{Binding, NotSealed, Opened, Successor};
use crate::sessions::Issued;
use crate::store::STALE_AT_MOST;
use crate::told::{Spoof, Told};

/// To which session the app's cookies are bound, after a look-up.
pub(super) const fn bound_by(lookup: &Lookup) -> Bound {
    match lookup {
        Lookup::Live(live) => Bound::To(Binding::Session(live.id)),
        Lookup::NoCredential | Lookup::Unknown(_) | Lookup::Ended(_) | Lookup::BadToken(_) => {
            Bound::To(Binding::NoSession)
        }
        Lookup::Unavailable(..) => Bound::Unknown,
    }
}

impl Gateway {
    /// Opens the app's cookies of a request. What does not open under its session is dropped and told.
    pub(super) async fn open_cookies(&self, exchange: &mut Exchange, cleared: &mut Cleared) {
        let Some(sealed) = self.sealed_cookies() else { return };
        if !sealed.are_in_request(&cleared.headers) {
            return;
        }
        let binding = Box::pin(self.binding(exchange)).await;
        let opened = sealed.open(&mut cleared.headers, binding);
        if opened.refused > 0 {
            let told = Told::IdentitySpoofed {
                by: Spoof::Cookies(opened.refused),
                path: (&*exchange.path()).into(),
                session: exchange.session,
                principal: exchange.principal.clone(),
            };
            self.tell(exchange, &told);
        }
        exchange.opened = Some(Box::new(opened));
    }

    /// Seals the app's cookies of an answer for the session of its request.
    pub(super) async fn seal_cookies(&self, exchange: &mut Exchange, headers: &mut HeaderMap) -> Result<(), Failure> {
        let Some(sealed) = self.sealed_cookies().filter(|sealed| sealed.are_in_answer(headers)) else { return Ok(()) };
        let Some(binding) = Box::pin(self.binding(exchange)).await else {
            sealed.withhold(headers);
            return Ok(());
        };
        sealed.seal(headers, binding, self.entropy()).map_err(|why| not_sealed(exchange, &why))
    }

    /// Whether the app's cookies of an answer can be sealed. To be asked before what cannot be undone.
    pub(super) fn check_cookies(&self, exchange: &Exchange, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(sealed) = self.sealed_cookies() else { return Ok(()) };
        sealed.check(headers).map_err(|why| not_sealed(exchange, &why))
    }

    /// Seals the app's cookies of an answer for the session that takes the place of the request's, and those with it that
    /// came with the request.
    pub(super) fn seal_cookies_anew(
        &self,
        exchange: &mut Exchange,
        headers: &mut HeaderMap,
        issued: &Issued,
    ) -> Result<(), Failure> {
        let Some(sealed) = self.sealed_cookies() else { return Ok(()) };
        exchange.bound = Bound::To(Binding::Session(issued.id));
        let came = exchange.opened.take().map_or_else(Opened::default, |opened| *opened);
        let to = Successor { id: issued.id, attributes: &self.config().cookie, max_age: issued.max_age() };
        sealed.seal_anew(headers, &came, to, self.entropy()).map_err(|why| not_sealed(exchange, &why))
    }

    async fn binding(&self, exchange: &mut Exchange) -> Option<Binding> {
        if let Bound::Presented(id) = exchange.bound {
            let limits = &self.config().session.limits;
            exchange.bound = bound_by(&look_at(self.store(), self.clock(), id, limits, STALE_AT_MOST).await);
        }
        match exchange.bound {
            Bound::To(binding) => Some(binding),
            Bound::Presented(_) | Bound::Unknown => None,
        }
    }
}

fn not_sealed(exchange: &Exchange, why: &NotSealed) -> Failure {
    let request_id = exchange.id.as_str();
    tracing::error!(request_id, %why, "an answer cannot be passed on");
    match why {
        NotSealed::NoRandomness(error) => Failure::Internal(error.to_string()),
        NotSealed::TooLong { .. } | NotSealed::Failed(_) => {
            Failure::BadAnswer("it sets a cookie that cannot be sealed")
        }
    }
}
