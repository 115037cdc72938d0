//! What a client or a backend sent, turned into what may be believed, or into a refusal.
//!
//! Pure: the `http` crate's types and bytes in, values and decisions out. Knows no socket, no runtime, no store, no
//! clock and no configuration; its tests are tables. Nothing here repairs what is ambiguous: it is refused, because a
//! backend behind us would repair it in another way (44 server builds were tried; hardly two agreed).
//!
//! The order in which the request path uses it: [`RequestFraming`] (bytes) → [`check_method`], [`Target`],
//! [`request_host`] → [`client_address`] → [`take_gateway_cookie`] → [`OriginPolicy`] → [`RequestFilter`]; then, for
//! answers, [`RequestFilter::strip_response`], [`OwnLocations`], [`drop_gateway_set_cookie`] and [`keep_private`].

mod bearer;
mod body_values;
mod caching;
mod cookie;
mod cookie_name;
mod cors;
mod escape;
mod event_answer;
mod expectation;
mod fetch;
mod folded_name;
mod forwarded;
mod framing;
mod glimpse;
mod headers;
mod host;
mod http2;
mod lenient;
mod location;
mod method;
mod navigation;
mod noted;
mod origin;
mod page;
mod pointer;
mod printable;
mod proxy_header;
mod refusal;
mod singular;
mod spelling;
mod stray_token;
mod target;
mod trace;
mod upgrade;
mod via;
mod websocket;

pub use bearer::{bearer_token, may_hold_bearer_token};
pub use body_values::values_in_body;
pub use caching::{keep_nowhere, keep_nowhere_by, keep_private, vary_by};
pub use cookie::{
    CookieAttributes, CookieNameError, GatewayCookieName, Presented, SameSite, app_set_cookie, cookie_paths,
    drop_gateway_set_cookie, expire_backend_cookie, expire_backend_cookie_at, expire_set_cookie, own_set_cookie,
    session_set_cookie, take_gateway_cookie, take_own_cookie,
};
pub use cookie_name::{CookieName, Piece, pieces as cookie_pieces};
pub use cors::CorsPolicy;
pub use event_answer::{EventAnswer, json_says_failure, with_count};
pub use expectation::check_expectation;
pub use fetch::{Preflight, is_from_another_site, is_led_here, is_websocket_upgrade, only_looks_ahead, wanted_method};
pub use folded_name::folded_name;
pub use forwarded::{client_address, forwarded_proto};
pub use framing::{HeadLimits, Phase, Repairs, RequestFraming};
pub use glimpse::glimpse;
pub use headers::{
    ClaimedValue, Claims, IdentityHeaders, ProtectedHeaders, ProtectedNames, RequestFilter, SESSION_RISK, Stripped,
    TenantHeader,
};
pub use host::{AllowedHosts, HostPatternError, RequestHost, http1_0_host, request_host};
pub use http2::{check_http2_head, http2_host};
pub use lenient::{LenientTarget, Reading};
pub use location::OwnLocations;
pub use method::{USUAL_METHODS, check_method, further_method, is_safe};
pub use navigation::{is_navigation, login_redirect, safe_next};
pub use noted::{KnownName, Lines, Note, NotedHeaders};
pub use origin::{Origin, OriginPolicy, Scheme, TrustedOrigin};
pub use page::{Language, Page, PageName, Pages, Rendered, Template};
pub use pointer::{JsonPointer, JsonPointerError, ManyPointer, NoList};
pub use printable::printable;
pub use proxy_header::{MalformedProxyHeader, ProxiedFor, ProxyHeader};
pub use refusal::{HeadLimit, Refusal};
pub use singular::check_singular;
pub use spelling::{Encode, Finding, IdentityRules, TenantError, TenantFormat};
pub use stray_token::take_stray_token;
pub use target::Target;
pub use trace::TraceParent;
pub use upgrade::{ProtocolName, Upgrade};
pub use via::{CameBack, GatewayMark, VIA};
pub use websocket::{FrameKind, FrameTracker, Taken, close_frame};
