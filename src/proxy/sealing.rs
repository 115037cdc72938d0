//! The app's own cookies of an exchange (`identity.seal_cookies`): opened on the way in, sealed on the way out.
//!
//! To which session they are bound is what the look-up showed. On a public route none is made; one is made here, only
//! when such a cookie comes or goes, so that what an ended session had is of no use there either.

use http::header::{HeaderMap, HeaderValue, SET_COOKIE};

use super::exchange::{Bound, Exchange};
use super::failure::Failure;
use super::forward::Cleared;
use super::lookup::{Lookup, look_at};
use super::services::Gateway;
use crate::http::{cookie_paths, expire_backend_cookie, expire_backend_cookie_at};
use crate::seal::{Binding, NotSealed, Opened, Successor};
use crate::session::Principal;
use crate::sessions::Issued;
use crate::store::STALE_AT_MOST;
use crate::told::{Spoof, Told};

/// To which session the app's cookies are bound, after a look-up.
pub(super) const fn bound_by(lookup: &Lookup) -> Bound {
    match lookup {
        Lookup::Live(live) => Bound::To(Binding::Session(live.id)),
        // What is sealed for a session that is held opens nowhere meanwhile.
        Lookup::NoCredential | Lookup::Unknown(_) | Lookup::Ended(_) | Lookup::Held(_) | Lookup::BadToken(_) => {
            Bound::To(Binding::NoSession)
        }
        Lookup::Unavailable(..) => Bound::Unknown,
    }
}

/// Whose the cookies are that came with a request after which another session takes the place of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// The new session's user's, in another tenant perhaps.
    OfTheSameUser,
    /// Perhaps somebody else's: who logs in is not always who was logged in.
    OfWhoever,
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
        if matches!(binding, Some(Binding::Session(_))) && exchange.opened_for.is_none() {
            exchange.opened_for.clone_from(&exchange.principal);
        }
    }

    /// Seals the app's cookies of an answer for the session of its request.
    pub(super) async fn seal_cookies(&self, exchange: &mut Exchange, headers: &mut HeaderMap) -> Result<(), Failure> {
        let Some(sealed) = self.sealed_cookies().filter(|sealed| sealed.are_in_answer(headers)) else { return Ok(()) };
        let Some(binding) = Box::pin(self.binding(exchange)).await else {
            match exchange.bound {
                Bound::Over => sealed.expire(headers),
                _ => sealed.withhold(headers),
            }
            return Ok(());
        };
        sealed.seal(headers, binding, self.entropy()).map_err(|why| not_sealed(exchange, &why))
    }

    /// Whether the app's cookies of an answer can be sealed. To be asked before what cannot be undone.
    pub(super) fn check_cookies(&self, exchange: &Exchange, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(sealed) = self.sealed_cookies() else { return Ok(()) };
        sealed.check(headers).map_err(|why| not_sealed(exchange, &why))
    }

    /// Seals the app's cookies of an answer for the session that takes the place of the request's, and with them those that
    /// came with the request; but what was sealed for somebody else's session ends with it.
    pub(super) fn seal_cookies_anew(
        &self,
        exchange: &mut Exchange,
        headers: &mut HeaderMap,
        issued: &Issued,
        of: Came,
    ) -> Result<(), Failure> {
        let Some(sealed) = self.sealed_cookies() else { return Ok(()) };
        let came = exchange.opened.take().map_or_else(Opened::default, |opened| *opened);
        let (whose, heir) = (exchange.opened_for.take(), &issued.record.principal);
        let is_foreign = |whose: &Principal| whose.tenant != heir.tenant || whose.user != heir.user;
        exchange.bound = Bound::To(Binding::Session(issued.id));
        if of == Came::OfWhoever && whose.as_deref().is_some_and(is_foreign) {
            let left = sealed.left_by(&came, headers);
            sealed
                .seal(headers, Binding::Session(issued.id), self.entropy())
                .map_err(|why| not_sealed(exchange, &why))?;
            let lines = left.iter().flat_map(|name| expire_backend_cookie(name, &self.config().cookie));
            lines.for_each(|line| _ = headers.append(SET_COOKIE, line));
            self.expire_below(exchange, headers, &left, usize::MAX);
            return Ok(());
        }
        // What came for no session is nobody's, and left where it is.
        let left = if whose.is_some() { sealed.left_by(&came, headers) } else { Vec::new() };
        let set = headers.get_all(SET_COOKIE).iter().count();
        let to = Successor { id: issued.id, attributes: &self.config().cookie, max_age: issued.max_age() };
        sealed.seal_anew(headers, &came, to, self.entropy()).map_err(|why| not_sealed(exchange, &why))?;
        self.expire_below(exchange, headers, &left, set);
        Ok(())
    }

    /// Takes away what the app had set for a path of its own: it opens no more, and browsers would send it before what is at
    /// the root now. Before the lines from that one on: a client that knows cookies by their names alone ends with the last.
    fn expire_below(&self, exchange: &Exchange, headers: &mut HeaderMap, names: &[&str], before: usize) {
        let path = exchange.target.as_ref().map_or("/", |target| target.path());
        let places = names.iter().flat_map(|name| cookie_paths(path).map(move |path| (name, path)));
        let lines = places.flat_map(|(name, path)| expire_backend_cookie_at(name, path, &self.config().cookie));
        let lines: Vec<HeaderValue> = lines.collect();
        if lines.is_empty() {
            return;
        }
        let mut all: Vec<HeaderValue> = headers.get_all(SET_COOKIE).iter().cloned().collect();
        let at = before.min(all.len());
        all.splice(at..at, lines);
        headers.remove(SET_COOKIE);
        all.into_iter().for_each(|line| _ = headers.append(SET_COOKIE, line));
    }

    async fn binding(&self, exchange: &mut Exchange) -> Option<Binding> {
        if let Bound::Presented(id) = exchange.bound {
            let limits = &self.config().session.limits;
            let lookup = look_at(self.store(), self.clock(), id, limits, STALE_AT_MOST).await;
            exchange.bound = bound_by(&lookup);
            if let Lookup::Live(live) = &lookup {
                exchange.opened_for = Some(live.record.principal.clone());
            }
        }
        match exchange.bound {
            Bound::To(binding) => Some(binding),
            Bound::Presented(_) | Bound::Over | Bound::Unknown => None,
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
