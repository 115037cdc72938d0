//! `[cors]`: whose pages may read what the gateway answers.

use std::time::Duration;

use super::error::Problems;
use super::parsers::each;
use super::raw::RawCors;
use super::server::trusted_origin;
use super::value::{choice, duration_within};
use crate::http::{CorsPolicy, TrustedOrigin};

/// Browsers hold to no more than a day.
const LONGEST: Duration = Duration::from_secs(86_400);

/// `trusted`: `server.trusted_origins`.
pub(super) fn cors(raw: &RawCors, trusted: &[TrustedOrigin], problems: &mut Problems) -> CorsPolicy {
    let listed = each(&raw.origins, problems, trusted_origin);
    let origins = if raw.origins.is_given() { listed } else { trusted.to_vec() };
    let replaces = raw.backend.parse_or(false, problems, choice(&[("leave", false), ("replace", true)]));
    if replaces && origins.is_empty() {
        problems.error(
            raw.backend.place(),
            "\"replace\" takes the backend's own headers out and lets nobody read anything; list the origins in \
             `cors.origins`",
        );
    }
    let max_age = raw.max_age.parse_or(Duration::from_secs(600), problems, duration_within(Duration::ZERO..=LONGEST));
    CorsPolicy { origins, replaces, max_age }
}
