//! The contract on a cluster, as the user that docs/redis.md describes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use session_gateway::secret::Secret;
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{Beside, SharedStore, StoreAddress};
use tokio::sync::OnceCell;

use crate::bench::{Bench, MonitorStore};
use crate::cluster::{Cluster, Plan};
use crate::cluster_cache::cached_everywhere;
use crate::redis::{PASSWORD, add_the_manuals_user};

/// One for all: each sentence has a prefix of its own. It ends with the process.
static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static BENCHES: AtomicUsize = AtomicUsize::new(0);

pub(crate) struct ClusterBench {
    cluster: &'static Cluster,
    prefix: String,
    store: Arc<RedisStore>,
    has_cache: bool,
}

impl ClusterBench {
    pub(crate) async fn start() -> Self {
        Self::launch(false).await
    }

    pub(crate) async fn with_a_cache() -> Self {
        Self::launch(true).await
    }

    async fn launch(has_cache: bool) -> Self {
        let cluster = CLUSTER
            .get_or_init(|| async {
                // Nobody is to be followed by another while a machine does much else.
                let cluster = Cluster::with(Plan { node_timeout: 60_000, ..Plan::default() }).await;
                add_the_manuals_users(&cluster);
                cluster
            })
            .await;
        let prefix = format!("sg:{}:", BENCHES.fetch_add(1, Ordering::Relaxed));
        let store = connected(cluster, &prefix, has_cache).await;
        Self { cluster, prefix, store, has_cache }
    }
}

/// On every node.
pub(crate) fn add_the_manuals_users(cluster: &Cluster) {
    for node in &cluster.nodes {
        add_the_manuals_user(node);
        let more = ["+wait", "+role", "+asking", "+cluster|slots", "+cluster|nodes", "+cluster|info"];
        let grant = ["ACL", "SETUSER", "session-gateway"].into_iter().chain(more).collect::<Vec<_>>();
        assert_eq!(node.cli(&grant), "OK");
    }
}

async fn connected(cluster: &Cluster, prefix: &str, has_cache: bool) -> Arc<RedisStore> {
    let url = Secret::new(cluster.url("session-gateway@"));
    let beside = Beside { password: Some(Secret::new(PASSWORD)), ..Beside::default() };
    let settings = RedisSettings::new(StoreAddress::with(&url, beside).unwrap(), prefix);
    if has_cache {
        return cached_everywhere(settings).await;
    }
    RedisStore::connect(settings, Arc::new(Unobserved)).await.unwrap()
}

impl Drop for ClusterBench {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for node in &self.cluster.nodes {
                assert_eq!(node.cli(&["ACL", "LOG"]), "", "the user of docs/redis.md lacks a permission");
            }
        }
    }
}

#[async_trait]
impl Bench for ClusterBench {
    fn store(&self) -> SharedStore {
        self.store.clone()
    }

    async fn other_instance(&self) -> SharedStore {
        connected(self.cluster, &self.prefix, self.has_cache).await
    }

    fn monitor(&self) -> Arc<dyn MonitorStore> {
        self.store.clone()
    }

    async fn other_monitor(&self) -> Arc<dyn MonitorStore> {
        connected(self.cluster, &self.prefix, self.has_cache).await
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
