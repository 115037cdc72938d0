//! Sessions that are put straight into the store.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use redis::aio::MultiplexedConnection;
use session_gateway::entropy::SystemEntropy;
use session_gateway::secret::Secret;
use session_gateway::session::{
    Generations, IdleLimit, Principal, SessionRecord, SessionToken, StoreTime, TenantId, UserAgent, UserId,
};
use session_gateway::store::codec;
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{REASON_KEPT, SessionStore as _, StoreAddress};
use sha2::{Digest as _, Sha256};

/// Sessions written in one step.
const STEP: usize = 500;
const IDLE: IdleLimit = IdleLimit::new(Duration::from_secs(1800));
const ABSOLUTE: Duration = Duration::from_secs(28_800);

/// The store, as another instance and by its keys (docs/redis.md).
pub struct Seeder {
    pub store: Arc<RedisStore>,
    connection: MultiplexedConnection,
}

impl Seeder {
    pub async fn connect(port: u16) -> Self {
        let url = format!("redis://127.0.0.1:{port}/0");
        let address = StoreAddress::parse(&Secret::new(url.as_str()), None, None).expect("a URL");
        let settings = RedisSettings::new(address, "sg:");
        let store = RedisStore::connect(settings, Arc::new(Unobserved)).await.expect("redis is there");
        let client = redis::Client::open(url).expect("a URL");
        let connection = client.get_multiplexed_async_connection().await.expect("redis is there");
        Self { store, connection }
    }

    /// So many sessions of one user.
    pub async fn user(&self, tenant: &str, user: &str, sessions: usize) -> Vec<SessionToken> {
        self.sessions(tenant, sessions, |_| user.to_owned()).await
    }

    /// So many sessions of a tenant, each of another user.
    pub async fn tenant(&self, tenant: &str, sessions: usize) -> Vec<SessionToken> {
        self.sessions(tenant, sessions, |n| format!("user-{n}")).await
    }

    async fn sessions(&self, tenant: &str, count: usize, user: impl Fn(usize) -> String) -> Vec<SessionToken> {
        let now = self.store.now().await.expect("redis answers");
        let mut tokens = Vec::with_capacity(count);
        let mut connection = self.connection.clone();
        while tokens.len() < count {
            let mut pipeline = redis::pipe();
            for n in tokens.len()..count.min(tokens.len() + STEP) {
                let token = SessionToken::generate(&SystemEntropy).expect("entropy");
                write(&mut pipeline, &token, &record(tenant, &user(n), now));
                tokens.push(token);
            }
            pipeline.exec_async(&mut connection).await.expect("redis answers");
        }
        tokens
    }
}

fn record(tenant: &str, user: &str, now: StoreTime) -> SessionRecord {
    SessionRecord {
        principal: Arc::new(Principal {
            tenant: TenantId::parse(tenant).expect("a tenant"),
            user: UserId::parse(user).expect("a user"),
            role: None,
        }),
        created: now,
        deadline: now.after(ABSOLUTE),
        idle: Some(IDLE),
        remembered: false,
        generations: Generations::default(),
        address: Some([192, 0, 2, 7].into()),
        user_agent: UserAgent::of(Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0")),
        line: None,
        choices: None,
    }
}

fn write(pipeline: &mut redis::Pipeline, token: &SessionToken, record: &SessionRecord) {
    let (id, deadline) = (token.id(), record.deadline.as_millis_rounded_up());
    let kept = IDLE.deadline_of_use_at(record.created).after(REASON_KEPT).as_millis_rounded_up();
    let (tenant, user) = (record.principal.tenant.kept(), record.principal.user.kept());
    let mut entry = Sha256::digest(user)[..8].to_vec();
    entry.extend(&record.created.as_micros().to_be_bytes()[1..]);
    entry.extend(id.to_bytes());
    // One node, however large: the gateways split it as they write to it.
    pipeline.cmd("ZADD").arg(format!("sg:b:{{{}}}:", hash(tenant))).arg(deadline).arg(entry);
    let bytes = codec::encode(record).expect("a record");
    pipeline.cmd("SET").arg(format!("sg:s:{{{id}}}")).arg(bytes).arg("PXAT").arg(kept);
}

fn hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(&Sha256::digest(text)[..16])
}
