//! What a client or a backend sent, turned into what may be believed, or into a refusal.
//!
//! Pure: the `http` crate's types and bytes in, values and decisions out. Knows no socket, no runtime, no store, no
//! clock and no configuration; its tests are tables. Nothing here repairs what is ambiguous: it is refused, because a
//! backend behind us would repair it in another way (security.md lists how 44 of them did).
//!
//! The order in which the request path uses it: [`RequestFraming`] (bytes) → [`check_method`], [`Target`],
//! [`RequestHost`] → [`client_address`] → [`OriginPolicy`] → [`take_gateway_cookie`] → [`RequestFilter`]; then, for
//! answers, [`identity`](LoginIdentity), [`RequestFilter::strip_response`] and [`drop_gateway_set_cookie`].

mod framing;
mod method;
mod printable;
mod refusal;

pub use framing::{HeadLimits, Phase, RequestFraming};
pub use method::{check_method, is_safe};
pub use printable::printable;
pub use refusal::Refusal;
