//! The ways to read a request's path, and the route that holds for all of them; and where a request of plain HTTP is to be
//! made instead.

use std::sync::Arc;

use http::header::HeaderValue;
use http::request::Parts;
use http::{Method, Uri, Version};

use super::failure::Failure;
use super::services::Gateway;
use crate::config::Config;
use crate::http::{HeadLimits, LenientTarget, NotedHeaders, Reading, Refusal, Target, check_http2_head, check_method};
use crate::policy::Route;

/// What the target of a request comes to.
pub(super) struct ReadTarget {
    /// In its one normal form; where the strict rule refuses it, in that of a lenient route.
    pub(super) target: Target,
    /// Where some route takes it in other ways.
    pub(super) lenient: Option<LenientTarget>,
    /// Why it is refused unless its route is a lenient one.
    pub(super) refused: Option<Refusal>,
}

impl Gateway {
    /// Reads method and target of a request. What framing is to HTTP/1, the form of the parsed head is to HTTP/2.
    pub(super) fn read_target(&self, parts: &Parts, headers: &NotedHeaders) -> Result<ReadTarget, Refusal> {
        let server = &self.config().server;
        if parts.version == Version::HTTP_2 {
            let limits = HeadLimits { bytes: server.max_header, count: server.max_headers };
            check_http2_head(&parts.method, &parts.uri, headers, limits)?;
        }
        check_method(&parts.method, &server.further_methods)?;
        let (strict, lenient) = (Target::of_uri(&parts.uri), self.read_leniently(&parts.uri));
        let refused = strict.as_ref().err().copied();
        let target = match (strict, &lenient) {
            (Ok(target), _) => target,
            // Whether its routes take it is seen when they are known.
            (Err(Refusal::BadPath(_)), Some(lenient)) => lenient.target.clone(),
            (Err(refusal), _) => return Err(refusal),
        };
        Ok(ReadTarget { target, lenient, refused })
    }

    /// Where a request of plain HTTP is to be made. What says more than an address has been said in the clear already, and
    /// must not seem to work.
    pub(super) fn to_https(&self, method: &Method, target: &Target) -> Result<HeaderValue, Failure> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Err(Failure::HttpsRequired);
        }
        let location = format!("{}{}", self.config().server.public_url, target.as_str());
        HeaderValue::try_from(location).map_err(|error| Failure::Internal(error.to_string()))
    }

    /// The target in every way to read it, where some route takes it so.
    pub(super) fn read_leniently(&self, uri: &Uri) -> Option<LenientTarget> {
        // What is wrong with it, the strict rule says.
        if self.config().routes.has_lenient() { LenientTarget::of_uri(uri).ok().flatten() } else { None }
    }

    /// The strictest of the routes that a path takes, whichever way it is read. `None` unless all of them are lenient, and
    /// it is nobody's but the backend's in every reading.
    pub(super) fn strictest_route(&self, method: &Method, target: &LenientTarget) -> Option<Arc<Route>> {
        let Config { routes, events, .. } = self.config();
        let mut strictest: Option<Arc<Route>> = None;
        for Reading { segments, trailing_slash } in &target.readings {
            let endpoints = self.endpoints();
            let own = endpoints.pick(method, segments, *trailing_slash).is_some()
                || endpoints.answers_some(segments, *trailing_slash);
            if own || events.pick(method, segments, *trailing_slash).is_some() {
                return None;
            }
            let route = routes.pick(method, segments, *trailing_slash);
            // Whose name stands there depends on how the path is read.
            if route.naming.are_in_path() {
                return None;
            }
            strictest = Some(match strictest {
                Some(before) if before != *route => Arc::new(before.stricter(route)?),
                _ => route.clone(),
            });
        }
        strictest.filter(|route| route.lenient)
    }
}
