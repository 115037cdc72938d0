//! Who is signed in at the console: in this process's memory alone, bounded in number and in time.
//!
//! What a browser has is a secret that was made here, of which only the hash is kept. What a session stands for is a token
//! of the configuration, which is looked up anew for each request: with the token, or a role of it, goes what it allowed.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::admin::token_digest::TokenDigest;
use crate::clock::Monotonic;
use crate::entropy::{Entropy, EntropyError};

/// A session ends when it was not used for so long.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// And when it is this old, however much it is used.
const ABSOLUTE: Duration = Duration::from_secs(8 * 3600);
/// The most sessions of one token; one more takes the place of the one that was used least recently.
const MOST_OF_A_TOKEN: usize = 8;
/// The longest notice that is kept, in bytes.
const LONGEST_NOTICE: usize = 1000;

/// A secret that a browser has, or a form of one of its pages.
#[derive(Clone)]
pub(in crate::admin) struct Handle(Box<str>);

impl Handle {
    /// A new one: 256 random bits.
    pub(in crate::admin) fn new(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut random = [0; 32];
        entropy.fill(&mut random)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(random).into()))
    }

    /// As a browser sent it.
    pub(in crate::admin) fn sent(text: &str) -> Self {
        Self(text.into())
    }

    /// The secret.
    pub(in crate::admin) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is what was sent; how much of it is takes no different time.
    pub(in crate::admin) fn is(&self, sent: &str) -> bool {
        self.0.as_bytes().ct_eq(sent.as_bytes()).into()
    }

    fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

/// The sessions of the console.
#[derive(Default)]
pub(in crate::admin) struct SignIns(Mutex<HashMap<[u8; 32], Entry>>);

struct Entry {
    token: TokenDigest,
    form: Handle,
    began: Monotonic,
    used: Monotonic,
    notice: Option<String>,
}

/// A session, as one request finds it.
pub(in crate::admin) struct Found {
    /// What it stands for.
    pub(in crate::admin) token: TokenDigest,
    /// What its forms must carry.
    pub(in crate::admin) form: Handle,
    /// What came of the last form, to be said once.
    pub(in crate::admin) notice: Option<String>,
}

impl SignIns {
    /// Begins a session with secrets that nobody has had before.
    pub(in crate::admin) fn begin(&self, token: TokenDigest, handle: &Handle, form: Handle, now: Monotonic) {
        let mut entries = self.0.lock();
        entries.retain(|_, entry| !entry.is_over(now));
        let of_token: Vec<_> = entries.iter().filter(|(_, entry)| entry.token == token).collect();
        if of_token.len() >= MOST_OF_A_TOKEN
            && let Some(key) = of_token.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| **key)
        {
            entries.remove(&key);
        }
        entries.insert(handle.hash(), Entry { token, form, began: now, used: now, notice: None });
    }

    /// The session of a secret, which a request uses; or which a page that is open only looks at, again and again.
    pub(in crate::admin) fn find(&self, handle: &Handle, now: Monotonic, uses: bool) -> Option<Found> {
        let key = handle.hash();
        let mut entries = self.0.lock();
        let entry = entries.get_mut(&key)?;
        if entry.is_over(now) {
            entries.remove(&key);
            return None;
        }
        let mut notice = None;
        if uses {
            entry.used = now;
            notice = entry.notice.take();
        }
        Some(Found { token: entry.token, form: entry.form.clone(), notice })
    }

    /// Has the next page say this.
    pub(in crate::admin) fn note(&self, handle: &Handle, mut notice: String) {
        notice.truncate(notice.floor_char_boundary(LONGEST_NOTICE));
        if let Some(entry) = self.0.lock().get_mut(&handle.hash()) {
            entry.notice = Some(notice);
        }
    }

    /// Ends a session.
    pub(in crate::admin) fn end(&self, handle: &Handle) {
        self.0.lock().remove(&handle.hash());
    }
}

impl Entry {
    fn is_over(&self, now: Monotonic) -> bool {
        now.since(self.used) >= IDLE || now.since(self.began) >= ABSOLUTE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    fn at(minutes: u64) -> Monotonic {
        Monotonic::from_micros(minutes * 60_000_000)
    }

    fn handle() -> Handle {
        Handle::new(&SystemEntropy).expect("random bytes")
    }

    fn begin(sessions: &SignIns, token: &str, minute: u64) -> Handle {
        let handle = handle();
        sessions.begin(TokenDigest::of(token.as_bytes()), &handle, self::handle(), at(minute));
        handle
    }

    #[test]
    fn a_session_ends_half_an_hour_after_its_last_use_and_looking_is_no_use() {
        let sessions = SignIns::default();
        let session = begin(&sessions, "a", 0);
        assert!(sessions.find(&session, at(29), true).is_some());
        assert!(sessions.find(&session, at(58), false).is_some());
        assert!(sessions.find(&session, at(59), false).is_none());
        assert!(sessions.0.lock().is_empty(), "what is over is forgotten");
    }

    #[test]
    fn a_session_ends_after_eight_hours_however_much_it_is_used() {
        let sessions = SignIns::default();
        let session = begin(&sessions, "a", 0);
        for minute in (20..480).step_by(20) {
            assert!(sessions.find(&session, at(minute), true).is_some(), "{minute}");
        }
        assert!(sessions.find(&session, at(480), true).is_none());
    }

    #[test]
    fn a_session_is_found_by_its_secret_alone_until_it_is_ended() {
        let sessions = SignIns::default();
        let (one, other) = (begin(&sessions, "a", 0), begin(&sessions, "b", 0));
        assert!(sessions.find(&one, at(1), true).is_some_and(|found| found.token == TokenDigest::of(b"a")));
        assert!(sessions.find(&Handle::sent(other.as_str()), at(1), true).is_some());
        for guess in ["", "A", &one.as_str()[1..], &format!("{}A", one.as_str())] {
            assert!(sessions.find(&Handle::sent(guess), at(1), true).is_none(), "{guess}");
        }
        sessions.end(&one);
        assert!(sessions.find(&one, at(1), true).is_none());
        assert!(sessions.find(&other, at(1), true).is_some());
    }

    #[test]
    fn one_session_too_many_of_a_token_ends_the_one_that_rested_longest_and_none_of_another_token() {
        let sessions = SignIns::default();
        let other = begin(&sessions, "other", 0);
        let of_token: Vec<_> = (0..8).map(|minute| begin(&sessions, "a", minute)).collect();
        assert!(sessions.find(&of_token[0], at(9), true).is_some());
        begin(&sessions, "a", 10);
        let alive: Vec<bool> = of_token.iter().map(|one| sessions.find(one, at(10), false).is_some()).collect();
        assert_eq!(alive, [true, false, true, true, true, true, true, true]);
        assert!(sessions.find(&other, at(10), false).is_some());
    }

    #[test]
    fn a_notice_is_said_once_and_to_nobody_who_only_looks() {
        let sessions = SignIns::default();
        let session = begin(&sessions, "a", 0);
        sessions.note(&session, format!("{}é", "x".repeat(LONGEST_NOTICE - 1)));
        let notice = |uses| sessions.find(&session, at(1), uses).and_then(|found| found.notice);
        assert_eq!(notice(false), None);
        assert_eq!(notice(true), Some("x".repeat(LONGEST_NOTICE - 1)), "cut between two characters");
        assert_eq!(notice(true), None);
    }
}
