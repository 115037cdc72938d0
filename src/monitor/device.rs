//! Devices that an account was logged in on (OWASP, "Device Cookies"): a cookie that says so, signed, which logs nobody in.
//!
//! Its only use is that failures elsewhere do not lock the account's owner out, who has a budget apart on it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::{AccountId, MonitorKeys};
use crate::clock::WallTime;
use crate::entropy::{Entropy, EntropyError};

const VERSION: u8 = 1;
const NONCE: usize = 12;
const HEAD: usize = 1 + 8 + NONCE;
const MAC: usize = 32;

/// A device, as its cookie names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId([u8; NONCE]);

impl std::fmt::Display for DeviceId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl MonitorKeys {
    /// The value of a cookie for a device that this account was logged in on, until then.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn device_cookie(
        &self,
        account: &AccountId,
        until: WallTime,
        entropy: &dyn Entropy,
    ) -> Result<String, EntropyError> {
        let mut value = [0; HEAD];
        value[0] = VERSION;
        value[1..9].copy_from_slice(&until.as_micros().to_be_bytes());
        entropy.fill(&mut value[9..])?;
        let mac = hmac::sign(self.devices(), &signed(account, &value));
        Ok(URL_SAFE_NO_PAD.encode([&value[..], mac.as_ref()].concat()))
    }

    /// The device of such a cookie, if it is this account's and not over.
    #[must_use]
    pub fn device(&self, account: &AccountId, cookie: &[u8], now: WallTime) -> Option<DeviceId> {
        let bytes = URL_SAFE_NO_PAD.decode(cookie).ok().filter(|bytes| bytes.len() == HEAD + MAC)?;
        let (value, mac) = bytes.split_at_checked(HEAD)?;
        let [version, rest @ ..] = value else { return None };
        let (until, nonce) = rest.split_first_chunk()?;
        if *version != VERSION || u64::from_be_bytes(*until) <= now.as_micros() {
            return None;
        }
        hmac::verify(self.devices(), &signed(account, value), mac).ok()?;
        nonce.first_chunk().copied().map(DeviceId)
    }
}

/// Both have one length each, so that no two are the same.
fn signed(account: &AccountId, value: &[u8]) -> Vec<u8> {
    [account.bytes(), value].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::secret::Secret;

    const DAY: u64 = 86_400_000_000;

    #[test]
    fn a_cookie_names_a_device_for_its_own_account_until_it_is_over_and_in_no_other_form() {
        let keys = MonitorKeys::new(&Secret::new("now"));
        let (alice, bob) = (keys.account(None, "alice"), keys.account(None, "bob"));
        let at = |days: u64| WallTime::from_micros(days * DAY);
        let cookie = keys.device_cookie(&alice, at(180), &SystemEntropy).expect("randomness");
        let device = keys.device(&alice, cookie.as_bytes(), at(179));
        assert!(device.is_some());
        assert_ne!(
            device,
            keys.device(
                &alice,
                keys.device_cookie(&alice, at(180), &SystemEntropy).expect("randomness").as_bytes(),
                at(1)
            )
        );
        assert_eq!(keys.device(&bob, cookie.as_bytes(), at(179)), None, "another's");
        assert_eq!(keys.device(&alice, cookie.as_bytes(), at(180)), None, "over");
        for at in 0..cookie.len() {
            let mut changed = cookie.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(keys.device(&alice, &changed, WallTime::from_micros(0)), None, "byte {at}");
        }
        for garbage in [&b""[..], b"AAAA", &[0xff; 71], &cookie.as_bytes()[1..]] {
            assert_eq!(keys.device(&alice, garbage, WallTime::from_micros(0)), None);
        }
        let another = MonitorKeys::new(&Secret::new("another"));
        assert_eq!(another.device(&alice, cookie.as_bytes(), at(1)), None, "signed by somebody else");
    }
}
