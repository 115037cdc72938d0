//! When a certificate is valid (RFC 5280, section 4.1.2.5), and what to say of it at a moment. Pure: the moment is an
//! argument, in seconds since the Unix epoch.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use webpki::{EndEntityCert, Error, KeyUsage};

const DAY: u64 = 24 * 60 * 60;
/// How long before its end a certificate is warned of: what renews by itself does so a month before.
const WARNED_FROM: u64 = 21 * DAY;

/// The time within which a certificate counts, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The first host that it is for, or the file that it is in.
    pub name: Box<str>,
    not_before: u64,
    not_after: u64,
}

impl Term {
    /// Reads it from a certificate: before all time and after it, a verifier says from when on and until when it would
    /// not have refused. Whose it is does not matter for that.
    pub(super) fn of(name: Box<str>, certificate: &EndEntityCert<'_>) -> Option<Self> {
        let refusal = |seconds: u64| {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            certificate.verify_for_usage(&[], &[], &[], time, KeyUsage::server_auth(), None, None).err()
        };
        let not_before = match refusal(0)? {
            Error::CertNotValidYet { not_before, .. } => not_before.as_secs(),
            Error::BadDer | Error::BadDerTime | Error::InvalidCertValidity => return None,
            _ => 0,
        };
        let Error::CertExpired { not_after, .. } = refusal(u64::MAX)? else { return None };
        Some(Self { name, not_before, not_after: not_after.as_secs() })
    }

    /// Whether clients take it at this moment.
    #[must_use]
    pub const fn holds_at(&self, now: u64) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// The seconds until it ends; less than zero when it has.
    #[must_use]
    pub fn left_at(&self, now: u64) -> i64 {
        i64::try_from(self.not_after).unwrap_or(i64::MAX).saturating_sub(i64::try_from(now).unwrap_or(i64::MAX))
    }

    /// What an operator must know: that it is over, has not begun, or ends soon.
    #[must_use]
    pub fn warning_at(&self, now: u64) -> Option<String> {
        let name = &self.name;
        if now > self.not_after {
            let days = (now - self.not_after) / DAY;
            Some(format!("the certificate for {name} expired {}, and clients refuse it; renew it", ago(days)))
        } else if now < self.not_before {
            Some(format!("the certificate for {name} is not valid yet, and clients refuse it; is the clock right?"))
        } else if self.not_after - now < WARNED_FROM {
            let days = (self.not_after - now) / DAY;
            Some(format!("the certificate for {name} expires {}; renew it", ahead(days)))
        } else {
            None
        }
    }
}

fn ago(days: u64) -> String {
    match days {
        0 => String::from("today"),
        1 => String::from("yesterday"),
        days => format!("{days} days ago"),
    }
}

fn ahead(days: u64) -> String {
    match days {
        0 => String::from("within a day"),
        1 => String::from("in one day"),
        days => format!("in {days} days"),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// 2026-11-29T00:00:00Z
    const NOW: u64 = 1_795_910_400;

    fn term(from: (i32, u8, u8), to: (i32, u8, u8)) -> Term {
        let mut params = CertificateParams::new(vec![String::from("app.test")]).expect("parameters");
        (params.not_before, params.not_after) =
            (date_time_ymd(from.0, from.1, from.2), date_time_ymd(to.0, to.1, to.2));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let certificate = EndEntityCert::try_from(certificate.der()).expect("a certificate");
        Term::of("app.test".into(), &certificate).expect("a term")
    }

    #[test]
    fn a_certificate_is_warned_of_from_twenty_one_days_before_its_end() {
        for (to, expected) in [
            ((2030, 1, 1), None),
            ((2026, 12, 20), None),
            ((2026, 12, 19), Some("the certificate for app.test expires in 20 days; renew it")),
            ((2026, 11, 30), Some("the certificate for app.test expires in one day; renew it")),
            ((2026, 11, 29), Some("the certificate for app.test expires within a day; renew it")),
            ((2026, 11, 28), Some("the certificate for app.test expired yesterday, and clients refuse it; renew it")),
            (
                (2025, 11, 29),
                Some("the certificate for app.test expired 365 days ago, and clients refuse it; renew it"),
            ),
        ] {
            let term = term((2020, 1, 1), to);
            assert_eq!(term.warning_at(NOW).as_deref(), expected, "{to:?}");
            assert_eq!(term.holds_at(NOW), to >= (2026, 11, 29), "{to:?}");
        }
        let early = term((2026, 12, 1), (2030, 1, 1));
        assert!(!early.holds_at(NOW));
        assert!(early.warning_at(NOW).is_some_and(|warning| warning.contains("not valid yet")));
        assert_eq!(term((2020, 1, 1), (2026, 11, 30)).left_at(NOW), 86_400);
        assert_eq!(term((2020, 1, 1), (2026, 11, 28)).left_at(NOW), -86_400);
    }
}
