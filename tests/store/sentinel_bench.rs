//! The contract on a master that Sentinels name, with a cache, as the users that docs/redis.md describes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use session_gateway::secret::Secret;
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{Beside, SentinelLogin, SharedStore, StoreAddress};
use tokio::sync::OnceCell;

use crate::bench::{Bench, MonitorStore};
use crate::redis::{MANUAL, PASSWORD, add_the_manuals_user, with_a_cache};
use crate::topology::{Plan, Topology};

/// One for all: each sentence has a prefix of its own. It ends with the process.
static TOPOLOGY: OnceCell<Topology> = OnceCell::const_new();
static BENCHES: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct SentinelBench {
    topology: &'static Topology,
    prefix: String,
    store: Arc<RedisStore>,
}

impl SentinelBench {
    pub(crate) async fn start() -> Self {
        let topology = TOPOLOGY
            .get_or_init(|| async {
                let topology = Topology::with(Plan { down_after: 60_000, ..Plan::default() }).await;
                add_the_manuals_users(&topology);
                topology
            })
            .await;
        let prefix = format!("sg:{}:", BENCHES.fetch_add(1, Ordering::Relaxed));
        let store = with_a_cache(as_the_manuals_users(topology, &prefix)).await;
        Self { topology, prefix, store }
    }
}

/// On every server, and on every Sentinel, where nobody else may do anything then.
pub(crate) fn add_the_manuals_users(topology: &Topology) {
    for member in &topology.members {
        add_the_manuals_user(&member.redis);
        assert_eq!(member.redis.cli(&["ACL", "SETUSER", "session-gateway", "+wait", "+role"]), "OK");
    }
    let (_, line) = MANUAL.split_once("| the Sentinels' user | `").unwrap();
    let line = line.split('`').next().unwrap().replace("\\|", "|").replace("CHANGE-ME", PASSWORD);
    for sentinel in &topology.sentinels {
        assert_eq!(sentinel.cli(&line.split(' ').collect::<Vec<_>>()), "OK");
    }
}

pub(crate) fn beside_of_the_manuals_users(topology: &Topology) -> Beside {
    let password = Some(Secret::new(PASSWORD));
    let beside = topology.beside();
    let own = beside.sentinel.clone().unwrap_or_default();
    let sentinel = SentinelLogin { user: Some("session-gateway".into()), password: password.clone(), ..own };
    Beside { password, sentinel: Some(sentinel), ..beside }
}

fn as_the_manuals_users(topology: &Topology, prefix: &str) -> RedisSettings {
    let url = Secret::new(topology.url("session-gateway@"));
    RedisSettings::new(StoreAddress::with(&url, beside_of_the_manuals_users(topology)).unwrap(), prefix)
}

impl Drop for SentinelBench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for member in &self.topology.members {
                assert_eq!(member.redis.cli(&["ACL", "LOG"]), "", "the user of docs/redis.md lacks a permission");
            }
            for sentinel in &self.topology.sentinels {
                assert_eq!(
                    sentinel.cli(&["ACL", "LOG"]),
                    "",
                    "the Sentinels' user of docs/redis.md lacks a permission"
                );
            }
        }
    }
}

#[async_trait]
impl Bench for SentinelBench {
    fn store(&self) -> SharedStore {
        self.store.clone()
    }

    async fn other_instance(&self) -> SharedStore {
        with_a_cache(as_the_manuals_users(self.topology, &self.prefix)).await
    }

    fn monitor(&self) -> Arc<dyn MonitorStore> {
        self.store.clone()
    }

    async fn other_monitor(&self) -> Arc<dyn MonitorStore> {
        with_a_cache(as_the_manuals_users(self.topology, &self.prefix)).await
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
