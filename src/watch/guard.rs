//! The login guard: a login is reserved before the backend is asked, and settled afterwards.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smallvec::SmallVec;

use super::Watch;
use crate::clock::WallTime;
use crate::monitor::{
    AccountId, Attempt, Attempted, Bucket, DeviceId, Evidence, FailedLogins, Finding, FindingKind, Full, MonitorRules,
    Named, NetworkRange, Outcome, Severity, ranges_of,
};
use crate::session::{Principal, SessionId};
use crate::store::monitor::{Reserved, Settlement};
use crate::told::Origin;

/// How long a login waits for others of its account or network.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at whether it still has to: first this, then doubling.
const FIRST_PAUSE: Duration = Duration::from_millis(25);
const LAST_PAUSE: Duration = Duration::from_millis(400);

/// Who tries to log in, and whence.
#[derive(Clone, Debug)]
pub struct Tried {
    /// Whom it names.
    pub named: Named,
    /// The client's address.
    pub address: IpAddr,
    /// Whether that is the address of a proxy of the operator's own.
    pub is_proxy: bool,
}

/// Whether a login may go on.
#[derive(Debug)]
pub enum Admission {
    /// It may. To be [settled](Watch::settle).
    Go(Guarded),
    /// Not before so many seconds have passed.
    Locked {
        /// How many.
        seconds: u64,
        /// What is locked, in a word.
        by: &'static str,
    },
    /// Too many others are under way.
    Busy,
}

/// A login that may go on.
#[derive(Debug)]
pub struct Guarded {
    /// `None` where it is not counted.
    attempt: Option<Attempt>,
    tried: Tried,
    /// The narrowest network of the client, where that says something of it.
    network: Option<NetworkRange>,
}

impl Guarded {
    /// The account that it names, if it is one alone.
    #[must_use]
    pub fn account(&self) -> Option<&AccountId> {
        self.tried.named.account()
    }

    /// Whether the one account that it names knows the device.
    #[must_use]
    pub const fn knows_device(&self) -> bool {
        self.tried.named.device.is_some()
    }
}

/// How a login came out.
#[derive(Clone, Debug)]
pub enum CameOut {
    /// It failed.
    Failed,
    /// It made this session.
    In(SessionId, Arc<Principal>),
    /// It says nothing of who tried.
    Neither,
}

impl Watch {
    /// The device of a cookie, where it is known to the one account that a login names.
    #[must_use]
    pub fn known_device(&self, rules: &MonitorRules, named: &Named, cookie: Option<&[u8]>) -> Option<DeviceId> {
        rules.device_cookie?;
        let services = &self.0.services;
        services.keys.device(named.account()?, cookie?, services.clock.wall())
    }

    /// The value of a cookie for the device of a login that succeeded, and how long it lives. `None` where none is to be
    /// set, or the login named nobody or several.
    #[must_use]
    pub fn device_cookie(&self, rules: &MonitorRules, guarded: &Guarded) -> Option<(String, Duration)> {
        let services = &self.0.services;
        let lifetime = rules.device_cookie?;
        let now = services.clock.wall().as_micros();
        let until = now.saturating_add(u64::try_from(lifetime.as_micros()).unwrap_or(u64::MAX));
        let account = guarded.tried.named.account()?;
        let cookie = services.keys.device_cookie(account, WallTime::from_micros(until), &*services.entropy);
        Some((cookie.ok()?, lifetime))
    }

    /// Whether a login may go on, counted as under way if so. Where the store cannot say it may.
    pub async fn admit(&self, rules: &MonitorRules, tried: Tried) -> Admission {
        let networks = self.networks(&tried);
        let network = networks.first().copied();
        let Some(attempt) = self.attempt(rules, &tried, &networks) else {
            return Admission::Go(Guarded { attempt: None, tried, network });
        };
        if !attempt.enforced {
            return Admission::Go(Guarded { attempt: Some(attempt), tried, network });
        }
        match self.reserve(&attempt).await {
            Some(Reserved::Locked { bucket, until, now }) => {
                let by = attempt.buckets.get(bucket).map_or("", |bucket| bucket.note.by.as_str());
                let left = until.since(now).as_millis().div_ceil(1000);
                Admission::Locked { seconds: u64::try_from(left).unwrap_or(u64::MAX).max(1), by }
            }
            Some(Reserved::Busy) => Admission::Busy,
            Some(Reserved::Yes { new }) => {
                self.0.new_keys.lock().add(new);
                Admission::Go(Guarded { attempt: Some(attempt), tried, network })
            }
            None => Admission::Go(Guarded { attempt: Some(attempt), tried, network }),
        }
    }

    /// Asks until it need not wait, or waited long enough. `None`: the store cannot say.
    async fn reserve(&self, attempt: &Attempt) -> Option<Reserved> {
        let guard = &self.0.services.guard;
        let mut place = None;
        let (mut pause, mut waited) = (FIRST_PAUSE, Duration::ZERO);
        loop {
            match guard.reserve(attempt).await {
                Ok(Reserved::Busy) if waited < PATIENCE => {
                    if place.is_none() {
                        place = self.0.waiting.try_acquire().ok();
                    }
                    // Without a place to wait at, it is told at once.
                    if place.is_none() {
                        return Some(Reserved::Busy);
                    }
                    let pause_now = pause.min(PATIENCE - waited);
                    tokio::time::sleep(pause_now).await;
                    waited += pause_now;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                Ok(reserved) => return Some(reserved),
                Err(error) => {
                    self.not_counted(&error);
                    return None;
                }
            }
        }
    }

    /// Says how a login came out. What that comes to is told.
    pub async fn settle(&self, rules: &MonitorRules, guarded: Guarded, came_out: CameOut, origin: &Origin) {
        let Guarded { attempt, tried, network } = guarded;
        let now = self.0.services.clock.monotonic();
        if let (CameOut::In(..), Some(account), Some(network)) = (&came_out, tried.named.account(), network) {
            self.0.crowd.lock().logged_in(account, network, now);
        }
        if let (CameOut::In(_, principal), Some(account), true) =
            (&came_out, tried.named.account(), rules.locks_users())
        {
            self.remember_account(principal, *account);
        }
        let (Some(attempt), Some(failed)) = (attempt, &rules.failed_logins) else { return };
        let outcome = match &came_out {
            CameOut::Failed => Outcome::Failed,
            CameOut::In(..) => Outcome::Succeeded,
            CameOut::Neither if attempt.enforced => Outcome::Neither,
            // Nothing was reserved.
            CameOut::Neither => return,
        };
        let settlement = match self.0.services.guard.settle(&attempt, outcome).await {
            Ok(settlement) => settlement,
            Err(error) => return self.not_counted(&error),
        };
        if !attempt.enforced {
            self.0.new_keys.lock().add(settlement.new);
        }
        for (at, full) in &settlement.full {
            if let Some(bucket) = attempt.buckets.get(*at) {
                self.found(failures(rules, failed, bucket, *full, &tried), origin.clone());
            }
        }
        if let CameOut::In(session, principal) = came_out {
            self.look_at_success(rules, (&tried, network), &settlement, (session, principal), origin);
        }
    }

    /// Remembers by which account a user logs in, so that it can be locked. Never waits.
    fn remember_account(&self, principal: &Principal, account: AccountId) {
        let (watch, user) = (self.clone(), self.user_key(principal));
        self.0.services.tasks.spawn(async move {
            if let Err(error) = watch.0.services.guard.remember_account(&user, &account).await {
                watch.not_counted(&error);
            }
        });
    }

    /// Whether somebody came in whom many failures from elsewhere came before. On a device that the account knows that is
    /// most likely its owner, whose name anybody can fail by: it is only to be known.
    fn look_at_success(
        &self,
        rules: &MonitorRules,
        (tried, network): (&Tried, Option<NetworkRange>),
        settlement: &Settlement,
        session: (SessionId, Arc<Principal>),
        origin: &Origin,
    ) {
        let Some(guessed) = rules.guessed_login.as_ref().filter(|rule| settlement.elsewhere >= rule.rule.count) else {
            return;
        };
        let known_device = tried.named.device.is_some();
        let evidence = Evidence::default()
            .with("failures_elsewhere", settlement.elsewhere)
            .with("within_seconds", guessed.rule.window.as_secs())
            .with("known_device", known_device);
        // The owner who comes in first hides nobody who comes in from another network, or on another device.
        let account = tried.named.account().map(ToString::to_string).unwrap_or_default();
        let network = network.map(|network| network.to_string()).unwrap_or_default();
        let subject = format!("{account},{network}{}", if known_device { ",known" } else { "" });
        let finding = Finding {
            kind: FindingKind::GuessedLogin,
            severity: if known_device { Severity::Low } else { guessed.rule.severity },
            mode: rules.mode,
            actions: guessed.rule.actions.clone(),
            subject,
            session: Some(session),
            account: tried.named.account().copied(),
            address: Some(tried.address),
            evidence,
        };
        self.found(finding, origin.clone());
    }

    /// What a login is counted by. `None`: by nothing.
    fn attempt(&self, rules: &MonitorRules, tried: &Tried, networks: &[NetworkRange]) -> Option<Attempt> {
        let services = &self.0.services;
        let failed = rules.failed_logins.as_ref()?;
        let remembers_accounts = self.0.new_keys.lock().has_room(services.clock.monotonic());
        let mut id = [0; 8];
        services.entropy.fill(&mut id).ok()?;
        let attempted = Attempted { named: &tried.named, networks, remembers_accounts };
        let mut attempt = Attempt::of(failed, rules.locks(), attempted, u64::from_be_bytes(id));
        if let Some(guessed) = &rules.guessed_login {
            attempt.guess_window = guessed.rule.window;
        }
        (!attempt.buckets.is_empty()).then_some(attempt)
    }

    /// The networks that a client's address says something of.
    fn networks(&self, tried: &Tried) -> SmallVec<[NetworkRange; 3]> {
        let first_time = |told: &AtomicBool| !told.swap(true, Ordering::Relaxed);
        if tried.is_proxy {
            if first_time(&self.0.told_of_proxy) {
                tracing::warn!(
                    address = %tried.address,
                    "logins come from a trusted proxy's own address, which stands for no client: none is counted by its network"
                );
            }
            return SmallVec::new();
        }
        let networks = ranges_of(tried.address);
        let Some(narrowest) = networks.first().copied() else { return networks };
        if self.0.crowd.lock().is_of_nearly_all(narrowest, self.0.services.clock.monotonic()) {
            if first_time(&self.0.told_of_crowd) {
                tracing::warn!(
                    network = %narrowest,
                    "over half of all accounts log in from one network, which is taken for a proxy: none is counted by it; \
                     if it is one, name it in `server.trusted_proxies`"
                );
            }
            return SmallVec::new();
        }
        networks
    }

    fn not_counted(&self, error: &crate::store::Unavailable) {
        tracing::debug!(%error, "a login is not counted");
        self.0.services.metrics.monitor_dropped();
    }
}

/// What it comes to that a bucket is full.
fn failures(rules: &MonitorRules, failed: &FailedLogins, bucket: &Bucket, full: Full, tried: &Tried) -> Finding {
    let mut evidence = Evidence::default()
        .with("by", bucket.note.by.as_str())
        .with("failures", full.failures)
        .with("within_seconds", failed.rule.window.as_secs());
    if let Some(network) = &bucket.note.network {
        evidence = evidence.with("network", network.as_str());
    }
    if bucket.most_accounts.is_some() {
        evidence = evidence.with("accounts", full.accounts);
    }
    if failed.rule.does(crate::monitor::Action::Lock) {
        evidence = evidence.with("until", full.until.rfc3339());
    }
    Finding {
        kind: FindingKind::FailedLogins,
        severity: failed.rule.severity,
        mode: rules.mode,
        actions: failed.rule.actions.clone(),
        subject: bucket.key.clone(),
        session: None,
        account: bucket.note.account.as_ref().and_then(|_| tried.named.account().copied()),
        address: Some(tried.address),
        evidence,
    }
}
