//! The maintenance mode: what clients are told while the site is being worked on, and whom it does not hold up.
//!
//! Kept by the store, so that all gateways are in it within a second of the operator's word. A store that cannot say
//! changes nothing: who was in it stays in it. It says nothing of sessions, which live on within their limits.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::store::StoreResult;
use crate::store::maintenance::MaintenanceStore;

/// How often the store is asked. With a slow answer on top it stays within a second.
const EVERY: Duration = Duration::from_millis(300);

/// What holds while the site is being worked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Maintenance {
    /// What people are told; `None`: the usual sentence.
    pub message: Option<String>,
    /// After how many seconds clients are to come again.
    pub retry_after: u64,
    /// The networks whose clients are served all the same.
    pub allow: Vec<IpNet>,
}

impl Maintenance {
    /// As the store keeps it.
    fn encode(&self) -> String {
        // Texts and numbers: it cannot fail, and a text that cannot be read is one, too.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What the store keeps. What cannot be read (a later version's) holds everybody up: it is there.
    fn decode(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or(Self { message: None, retry_after: 60, allow: Vec::new() })
    }
}

/// What this gateway knows of the maintenance mode.
pub struct MaintenanceMode {
    store: Arc<dyn MaintenanceStore>,
    known: ArcSwapOption<Maintenance>,
}

impl MaintenanceMode {
    /// As `store` keeps it; nothing is known of it yet.
    #[must_use]
    pub fn kept_by(store: Arc<dyn MaintenanceStore>) -> Self {
        Self { store, known: ArcSwapOption::empty() }
    }

    /// What holds, as far as is known.
    #[must_use]
    pub fn known(&self) -> Option<Arc<Maintenance>> {
        self.known.load_full()
    }

    /// What holds a client up, if it does.
    #[must_use]
    pub fn holds_up(&self, client: IpAddr) -> Option<Arc<Maintenance>> {
        let known = self.known.load();
        let allowed = |maintenance: &Maintenance| maintenance.allow.iter().any(|network| network.contains(&client));
        known.as_ref().filter(|maintenance| !allowed(maintenance)).map(Arc::clone)
    }

    /// What holds, asked of the store itself.
    ///
    /// # Errors
    /// When the store cannot say.
    pub async fn ask(&self) -> StoreResult<Option<Arc<Maintenance>>> {
        let kept = self.store.maintenance().await?;
        let kept = kept.map(|text| Arc::new(Maintenance::decode(&text)));
        self.known.store(kept.clone());
        Ok(kept)
    }

    /// Holds from now on, here at once and at the other gateways within a second.
    ///
    /// # Errors
    /// When the store does not take it: nobody can tell whether it holds.
    pub async fn set(&self, maintenance: Option<Maintenance>) -> StoreResult<()> {
        let text = maintenance.as_ref().map(Maintenance::encode);
        self.store.set_maintenance(text.as_deref()).await?;
        self.known.store(maintenance.map(Arc::new));
        Ok(())
    }

    /// Asks the store again and again, for ever, and tells `seen` what holds.
    pub async fn follow(&self, seen: impl Fn(Option<&Maintenance>)) {
        loop {
            if self.ask().await.is_ok() {
                seen(self.known.load().as_deref());
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use parking_lot::Mutex;

    use super::*;
    use crate::store::Unavailable;

    /// A store that keeps a text, or is away.
    #[derive(Default)]
    struct Kept(Mutex<Option<Option<String>>>);

    #[async_trait]
    impl MaintenanceStore for Kept {
        async fn maintenance(&self) -> StoreResult<Option<String>> {
            self.0.lock().clone().ok_or_else(|| Unavailable::because("away"))
        }

        async fn set_maintenance(&self, text: Option<&str>) -> StoreResult<()> {
            match &mut *self.0.lock() {
                Some(kept) => *kept = text.map(str::to_owned),
                None => return Err(Unavailable::because("away")),
            }
            Ok(())
        }
    }

    const CLIENT: [u8; 4] = [192, 0, 2, 1];

    #[tokio::test]
    async fn it_holds_for_all_but_the_networks_that_it_allows_and_a_store_that_is_away_changes_nothing() {
        let store = Arc::new(Kept(Mutex::new(Some(None))));
        let (here, there) = (MaintenanceMode::kept_by(store.clone()), MaintenanceMode::kept_by(store.clone()));
        let allow = vec!["10.0.0.0/8".parse().expect("a network")];
        let maintenance = Maintenance { message: Some("Back at ten".into()), retry_after: 7200, allow };
        here.set(Some(maintenance.clone())).await.expect("taken");
        assert_eq!(here.holds_up(CLIENT.into()).as_deref(), Some(&maintenance));
        assert_eq!(here.holds_up([10, 1, 2, 3].into()), None);
        assert_eq!(there.holds_up(CLIENT.into()), None, "not heard of yet");
        there.ask().await.expect("answered");
        assert_eq!(there.known().as_deref(), Some(&maintenance));
        *store.0.lock() = None;
        assert!(there.ask().await.is_err() && there.set(None).await.is_err());
        assert!(there.holds_up(CLIENT.into()).is_some(), "a store that is away ends nothing");
        *store.0.lock() = Some(None);
        there.ask().await.expect("answered");
        assert_eq!(there.known(), None);
    }

    #[tokio::test]
    async fn what_cannot_be_read_holds_everybody_up() {
        let mode = MaintenanceMode::kept_by(Arc::new(Kept(Mutex::new(Some(Some("{\"newer\":1}".into()))))));
        mode.ask().await.expect("answered");
        assert!(mode.holds_up([10, 0, 0, 1].into()).is_some());
    }
}
