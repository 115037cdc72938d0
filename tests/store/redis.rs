//! What is special about Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use session_gateway::session::{TenantId, TenantStanding};
use session_gateway::store::SharedStore;
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::{RedisSettings, RedisStore};

use crate::bench::Bench;
use crate::redis_server::RedisServer;

pub(crate) struct RedisBench {
    server: RedisServer,
    store: Arc<RedisStore>,
}

impl RedisBench {
    pub(crate) async fn start() -> Self {
        let server = RedisServer::start(&[]).await;
        let store = connect(server.unix()).await;
        Self { server, store }
    }
}

async fn connect(settings: RedisSettings) -> Arc<RedisStore> {
    RedisStore::connect(settings, Arc::new(Unobserved)).await.unwrap()
}

#[async_trait]
impl Bench for RedisBench {
    fn store(&self) -> SharedStore {
        self.store.clone()
    }

    async fn other_instance(&self) -> SharedStore {
        connect(self.server.tcp()).await
    }

    async fn elapse(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    async fn set_tenant(&mut self, tenant: &TenantId, standing: TenantStanding) {
        self.server.cli(&["SET", &format!("sg:n:{{{}}}", hash(&[tenant.as_str()])), &standing.encode()]);
    }
}

/// As docs/redis.md says, apart from the code under test.
fn hash(parts: &[&str]) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let mut text = Vec::new();
    for part in parts {
        text.extend(u64::try_from(part.len()).unwrap().to_be_bytes());
        text.extend(part.as_bytes());
    }
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&sha2::Sha256::digest(&text)[..16])
}
