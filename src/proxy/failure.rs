//! Why the gateway answers by itself: whose fault it is, the status and code that its client is told, the cause that the log
//! is told (docs/behaviour.md, "Errors").
//!
//! The only place that turns failures into statuses and codes. Makes no answer: that is `respond`'s.

use std::borrow::Cow;
use std::sync::Arc;

use http::StatusCode;

use crate::http::{Refusal, RequestHost};
use crate::maintenance::Maintenance;
use crate::policy::Denial;
use crate::session::{Barred, EndReason};
use crate::sessions::NotIssued;
use crate::store::Unavailable;
use crate::upstream::{BodyFault, UpstreamError};

/// Why the gateway answers by itself, and whose fault it is.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client's: the request cannot be believed.
    Refused(Refusal),
    /// The client's: a well-formed host that is not served here.
    HostNotAllowed(RequestHost),
    /// The client's: its body was too large, too slow or broken.
    Body(BodyFault),
    /// The client's: an unsafe call from a foreign origin.
    CrossOrigin,
    /// The client's: an endpoint of the gateway's own does not take this method.
    MethodNotAllowed(&'static str),
    /// The client's: what it sends to an endpoint of the gateway's own is not what that takes.
    Misunderstood(&'static str),
    /// The client's: what it names is not there, or is not theirs.
    NotFound,
    /// The policy's refusal.
    Denied(Denial),
    /// The tenant is suspended or deleted.
    TenantRefused,
    /// The user has as many sessions as they may have.
    TooManySessions,
    /// The user or tenant was revoked while the login was under way.
    Superseded,
    /// Too many logins failed: none before so many seconds have passed.
    LoginLocked {
        /// How many.
        seconds: u64,
    },
    /// Too many logins of the account, or from the network, are under way.
    TooManyLogins,
    /// The client's: its user made too many calls, and may make more after so many seconds.
    TooManyCalls {
        /// How many.
        seconds: u64,
    },
    /// The store's.
    Store(Unavailable),
    /// The backend's: its login answer names something that cannot be an identity.
    BadIdentity(&'static str),
    /// The backend's: its answer to an event cannot be read, and so not be passed on.
    BadAnswer(&'static str),
    /// The backend's: it could not be reached, or did not answer properly or in time.
    Upstream(UpstreamError),
    /// Too many request bodies wait already.
    Overloaded,
    /// The client's, or everybody's: too many requests are under way already.
    TooManyUnderWay,
    /// The operator's: the request came back from the upstream of this name.
    CameBack(Arc<str>),
    /// Ours: the folder in which request bodies wait is full, missing or not to be written.
    Spool(String),
    /// The backend's: the token that the session has is over, and no other can be had just now.
    TokenUnavailable,
    /// The backend says that the user has no tenant, or not this one.
    TenantMissing,
    /// The tenant's membership could not be verified.
    TenantUnverified(String),
    /// The client's: it sends something in the clear that is not to be sent so.
    HttpsRequired,
    /// The client's: it speaks plain HTTP where TLS is spoken.
    PlainOnTls,
    /// The site is being worked on.
    Maintenance(Arc<Maintenance>),
    /// Ours.
    Internal(String),
}

/// What the client is told.
pub(super) struct PublicError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: Cow<'static, str>,
}

const fn told(status: StatusCode, code: &'static str, message: &'static str) -> PublicError {
    PublicError { status, code, message: Cow::Borrowed(message) }
}

impl Failure {
    /// The exhaustive table of statuses and codes.
    pub(super) fn told(&self) -> PublicError {
        match self {
            Self::Refused(refusal) => match *refusal {
                Refusal::BadRequest(why) => told(StatusCode::BAD_REQUEST, "bad_request", why),
                Refusal::BadPath(why) => told(StatusCode::BAD_REQUEST, "bad_path", why),
                Refusal::MethodNotAllowed => {
                    told(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This method is not served.")
                }
                Refusal::HeadersTooLarge(limit) => {
                    told(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large", limit.told())
                }
                Refusal::ExpectationFailed => told(
                    StatusCode::EXPECTATION_FAILED,
                    "expectation_failed",
                    "No expectation but 100-continue can be met.",
                ),
                Refusal::BodyTooLarge => BODY_TOO_LARGE,
            },
            Self::HostNotAllowed(host) => PublicError {
                status: StatusCode::MISDIRECTED_REQUEST,
                code: "host_not_allowed",
                message: format!("The host {host} is not served here.").into(),
            },
            Self::Body(BodyFault::TooLarge) => BODY_TOO_LARGE,
            Self::Body(BodyFault::Stalled) => {
                told(StatusCode::REQUEST_TIMEOUT, "bad_request", "The request's body took too long to arrive.")
            }
            Self::Body(BodyFault::Broken) => {
                told(StatusCode::BAD_REQUEST, "bad_request", "The request's body broke off.")
            }
            Self::CrossOrigin => {
                told(StatusCode::FORBIDDEN, "csrf_failed", "This call came from another site and was refused.")
            }
            Self::MethodNotAllowed(_) => {
                told(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "This endpoint does not take this method.")
            }
            Self::Misunderstood(why) => told(StatusCode::BAD_REQUEST, "bad_request", why),
            Self::NotFound => told(StatusCode::NOT_FOUND, "not_found", "There is nothing of this name."),
            Self::Denied(denial) => match *denial {
                Denial::SessionRequired => told(StatusCode::UNAUTHORIZED, "session_required", "Please log in."),
                Denial::SessionEnded(EndReason::IdleTimeout) => told(
                    StatusCode::UNAUTHORIZED,
                    "session_idle_timeout",
                    "Your session ended because it was not used for a while. Please log in again.",
                ),
                Denial::SessionEnded(EndReason::Expired) => told(
                    StatusCode::UNAUTHORIZED,
                    "session_expired",
                    "Your session reached its end. Please log in again.",
                ),
                Denial::SessionEnded(_) => SESSION_REVOKED,
                Denial::ReauthRequired => told(
                    StatusCode::UNAUTHORIZED,
                    "reauth_required",
                    "Something unusual was noticed in your session. Please log in again to go on.",
                ),
                Denial::StoreUnavailable => STORE_UNAVAILABLE,
                Denial::ForbiddenRole => told(StatusCode::FORBIDDEN, "forbidden_role", "Your role may not call this."),
                Denial::TenantMismatch => told(
                    StatusCode::FORBIDDEN,
                    "tenant_mismatch",
                    "The request names another tenant than the session's.",
                ),
                Denial::OnboardingRequired => told(
                    StatusCode::FORBIDDEN,
                    "onboarding_required",
                    "Your account is not set up yet. Please finish that first.",
                ),
                Denial::PathBlocked => {
                    told(StatusCode::FORBIDDEN, "path_blocked", "This path is not served to clients.")
                }
                Denial::TokenInvalid => told(
                    StatusCode::UNAUTHORIZED,
                    "token_invalid",
                    "The access token is not one that is accepted here.",
                ),
                Denial::TokenExpired => told(StatusCode::UNAUTHORIZED, "token_expired", "The access token is over."),
                Denial::TokenRevoked => {
                    told(StatusCode::UNAUTHORIZED, "token_revoked", "The access token was revoked.")
                }
                Denial::TenantSuspended => TENANT_SUSPENDED,
                Denial::TenantLost => told(
                    StatusCode::FORBIDDEN,
                    "tenant_suspended",
                    "Your access to this organisation was ended. Please log in again to use it.",
                ),
                Denial::KeysUnavailable => told(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "keys_unavailable",
                    "Access tokens cannot be checked just now. Please try again in a moment.",
                ),
            },
            Self::TenantRefused => TENANT_SUSPENDED,
            Self::TenantMissing => told(
                StatusCode::FORBIDDEN,
                "tenant_missing",
                "There is no organisation for your account. Please ask whoever invited you.",
            ),
            Self::TooManySessions => told(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_sessions",
                "You are logged in on too many devices. Please log out on one of them.",
            ),
            Self::Superseded => SESSION_REVOKED,
            Self::LoginLocked { .. } => told(
                StatusCode::TOO_MANY_REQUESTS,
                "login_locked",
                "There were too many failed logins. Please wait a while before you try again.",
            ),
            Self::TooManyLogins => told(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "Too many logins are under way. Please try again in a moment.",
            ),
            Self::TooManyCalls { .. } => told(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limited",
                "There were too many calls in this minute. Please wait for the next one.",
            ),
            Self::Store(_) => STORE_UNAVAILABLE,
            Self::Overloaded | Self::Spool(_) => {
                told(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too many uploads are under way. Please try again.")
            }
            Self::TooManyUnderWay => told(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Too many requests are under way. Please try again.",
            ),
            Self::CameBack(_) => told(
                StatusCode::LOOP_DETECTED,
                "upstream_loop",
                "The application's address leads back to this gateway.",
            ),
            Self::TokenUnavailable => told(
                StatusCode::SERVICE_UNAVAILABLE,
                "token_unavailable",
                "The application cannot be asked in your name just now. Please try again in a moment; you are still \
                 logged in.",
            ),
            Self::TenantUnverified(_) => told(
                StatusCode::SERVICE_UNAVAILABLE,
                "tenant_unverified",
                "Your account could not be verified just now. Please try again.",
            ),
            Self::BadIdentity(_) => {
                told(StatusCode::BAD_GATEWAY, "bad_identity", "The application's login answer could not be understood.")
            }
            Self::BadAnswer(_) | Self::Upstream(UpstreamError::Malformed { .. }) => {
                told(StatusCode::BAD_GATEWAY, "bad_answer", "The application's answer could not be understood.")
            }
            Self::Upstream(UpstreamError::ClientBody(fault)) => Self::Body(*fault).told(),
            Self::Upstream(UpstreamError::Spool { .. }) => INTERNAL_ERROR,
            Self::Upstream(UpstreamError::Timeout { .. }) => {
                told(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "The application took too long to answer.")
            }
            Self::Upstream(UpstreamError::Unreachable { .. } | UpstreamError::Broken { .. }) => {
                told(StatusCode::BAD_GATEWAY, "upstream_unreachable", "The application could not be reached.")
            }
            Self::HttpsRequired => told(
                StatusCode::FORBIDDEN,
                "https_required",
                "This site is served over https alone, and this was sent in the clear. Use https:// in the address.",
            ),
            Self::PlainOnTls => {
                told(StatusCode::BAD_REQUEST, "https_required", "This port speaks TLS. Use https:// in the address.")
            }
            Self::Maintenance(maintenance) => PublicError {
                status: StatusCode::SERVICE_UNAVAILABLE,
                code: "maintenance",
                message: match &maintenance.message {
                    Some(message) => message.clone().into(),
                    None => "This site is being worked on. Please come back a little later.".into(),
                },
            },
            Self::Internal(_) => INTERNAL_ERROR,
        }
    }

    /// Whether the request's framing cannot be trusted, so that the connection must not be used again.
    pub(super) const fn poisons_connection(&self) -> bool {
        matches!(
            self,
            Self::Refused(Refusal::BadRequest(_) | Refusal::HeadersTooLarge(_) | Refusal::BodyTooLarge)
                | Self::Body(_)
                | Self::PlainOnTls
                | Self::Overloaded
                | Self::Spool(_)
        )
    }

    /// Its error code.
    pub(super) fn code(&self) -> &'static str {
        self.told().code
    }

    /// Whether a login that the backend accepted made no session, and that is said of the login itself.
    pub(super) const fn refuses_the_login(&self) -> bool {
        matches!(
            self,
            Self::TenantRefused
                | Self::TenantMissing
                | Self::TooManySessions
                | Self::Superseded
                | Self::BadIdentity(_)
                | Self::TenantUnverified(_)
        )
    }

    /// Whether the request itself is at fault, and neither the backend, the store nor the gateway.
    pub(super) const fn is_the_clients(&self) -> bool {
        match self {
            Self::Refused(_)
            | Self::HostNotAllowed(_)
            | Self::HttpsRequired
            | Self::PlainOnTls
            | Self::CrossOrigin
            | Self::MethodNotAllowed(_)
            | Self::Misunderstood(_)
            | Self::NotFound
            | Self::LoginLocked { .. }
            | Self::TooManyLogins
            | Self::TooManyCalls { .. } => true,
            Self::Denied(denial) => !matches!(denial, Denial::StoreUnavailable | Denial::KeysUnavailable),
            _ => self.blames_the_body(),
        }
    }

    /// Whether the client's body is what failed.
    pub(super) const fn blames_the_body(&self) -> bool {
        matches!(self, Self::Body(_) | Self::Upstream(UpstreamError::ClientBody(_)))
    }

    /// Whether logging in would mend it.
    pub(super) const fn asks_for_login(&self) -> bool {
        matches!(self, Self::Denied(Denial::SessionRequired | Denial::SessionEnded(_) | Denial::ReauthRequired))
    }

    /// Whether the client is to get itself another access token (RFC 6750 section 3.1).
    pub(super) const fn asks_for_token(&self) -> bool {
        matches!(self, Self::Denied(Denial::TokenInvalid | Denial::TokenExpired | Denial::TokenRevoked))
    }

    /// Tells the log what the client is not told.
    pub(super) fn log(&self, request_id: &str) {
        match self {
            Self::Store(unavailable) => {
                tracing::warn!(request_id, cause = %unavailable.cause, "the session store cannot answer");
            }
            Self::BadIdentity(why) => {
                tracing::warn!(request_id, why, "the answer of the backend names an unusable identity");
            }
            Self::BadAnswer(why) => tracing::error!(request_id, why, "the answer to an event cannot be passed on"),
            Self::Upstream(UpstreamError::ClientBody(_)) => {}
            Self::Upstream(error) => tracing::warn!(request_id, %error, "the backend did not answer"),
            Self::TenantUnverified(why) => tracing::warn!(request_id, why, "a tenant could not be verified"),
            Self::Overloaded => tracing::warn!(request_id, "there is no room for another request body"),
            Self::CameBack(upstream) => tracing::error!(
                request_id,
                %upstream,
                "a request came back to the gateway that had sent it to this upstream, whose url leads to the gateway \
                 itself; give it the backend's own address"
            ),
            Self::TooManyUnderWay => tracing::debug!(request_id, "there is no room for another exchange"),
            Self::Spool(why) => tracing::error!(request_id, why, "a request body cannot be spooled"),
            Self::Internal(why) => tracing::error!(request_id, why, "internal error"),
            Self::Refused(Refusal::HeadersTooLarge(limit)) => {
                tracing::info!(
                    request_id,
                    limit = limit.key(),
                    "a request's head is over the limit; raise it to let such requests pass"
                );
            }
            Self::HostNotAllowed(host) => {
                tracing::info!(request_id, %host, "a host was asked for that server.hosts does not name");
            }
            Self::Refused(_)
            | Self::Maintenance(_)
            | Self::HttpsRequired
            | Self::PlainOnTls
            | Self::TokenUnavailable
            | Self::Body(_)
            | Self::CrossOrigin
            | Self::MethodNotAllowed(_)
            | Self::Misunderstood(_)
            | Self::NotFound
            | Self::Denied(_)
            | Self::TenantRefused
            | Self::TenantMissing
            | Self::TooManySessions
            | Self::LoginLocked { .. }
            | Self::TooManyLogins
            | Self::TooManyCalls { .. }
            | Self::Superseded => {}
        }
    }
}

const INTERNAL_ERROR: PublicError =
    told(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "Something went wrong in the gateway.");
const TENANT_SUSPENDED: PublicError = told(StatusCode::FORBIDDEN, "tenant_suspended", "This account is suspended.");
const BODY_TOO_LARGE: PublicError =
    told(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", "The request's body is larger than allowed.");
const SESSION_REVOKED: PublicError =
    told(StatusCode::UNAUTHORIZED, "session_revoked", "Your session was ended. Please log in again.");
const STORE_UNAVAILABLE: PublicError = told(
    StatusCode::SERVICE_UNAVAILABLE,
    "store_unavailable",
    "Sessions cannot be checked just now. Please try again in a moment; you are still logged in.",
);

impl From<NotIssued> for Failure {
    fn from(none: NotIssued) -> Self {
        match none {
            NotIssued::Unavailable(unavailable) => Self::Store(unavailable),
            NotIssued::LimitReached => Self::TooManySessions,
            NotIssued::Superseded => Self::Superseded,
            NotIssued::TenantRefused => Self::TenantRefused,
            NotIssued::NoRandomness(error) => Self::Internal(error.to_string()),
            NotIssued::NotSealed(error) => Self::Internal(error.to_string()),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The error code of a session that may not go on, also for what that cuts.
pub(super) fn code_of_end(reason: Barred) -> &'static str {
    Failure::Denied(reason.into()).told().code
}

/// A request that was refused before the pipeline could read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// Its head is larger than what is read at all.
    HeadersTooLarge,
    /// It is no request, or its connection broke the protocol.
    Malformed,
    /// Its client has too many under way on the connection; over HTTP/2 alone.
    TooManyStreams,
}

impl Unread {
    /// How hyper refused a request by itself, if it did.
    pub(super) fn by_hyper(error: &hyper::Error) -> Option<Self> {
        if error.is_parse_too_large() {
            Some(Self::HeadersTooLarge)
        } else if error.is_parse() {
            Some(Self::Malformed)
        } else {
            None
        }
    }

    /// Its status and code, for log and metrics; over HTTP/2 the client may have been told by a reset alone.
    pub(super) const fn told(self) -> (StatusCode, &'static str) {
        match self {
            Self::HeadersTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers_too_large"),
            Self::Malformed => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::TooManyStreams => (StatusCode::SERVICE_UNAVAILABLE, "too_many_streams"),
        }
    }
}
