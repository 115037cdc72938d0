//! Sessions that are put straight into the store.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use session_gateway::entropy::SystemEntropy;
use session_gateway::secret::Secret;
use session_gateway::session::{IdleLimit, Principal, SessionToken, TenantId, UserAgent, UserId};
use session_gateway::store::observe::Unobserved;
use session_gateway::store::redis::{RedisSettings, RedisStore};
use session_gateway::store::{Creation, NewSession, SessionStore as _};

const AT_ONCE: usize = 64;

/// Another instance on the same store.
pub async fn store(port: u16) -> Arc<RedisStore> {
    let url = Secret::new(format!("redis://127.0.0.1:{port}/0"));
    let settings = RedisSettings::new(&url, None, "sg:", None).expect("a URL");
    RedisStore::connect(settings, Arc::new(Unobserved)).await.expect("redis is there")
}

/// A new session of a tenant's user, made by its token.
pub async fn session(store: &RedisStore, tenant: &str, user: usize) -> SessionToken {
    let token = SessionToken::generate(&SystemEntropy).expect("entropy");
    let new = NewSession {
        id: token.id(),
        principal: Principal {
            tenant: TenantId::parse(tenant).expect("a tenant"),
            user: UserId::parse(&format!("user-{user}")).expect("a user"),
            role: None,
        },
        remembered: false,
        idle: Some(IdleLimit::new(Duration::from_secs(1800))),
        absolute: Duration::from_secs(28_800),
        address: Some([192, 0, 2, 7].into()),
        user_agent: UserAgent::of(Some(b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Firefox/128.0")),
        began: store.now().await.expect("redis answers"),
        limit: None,
        replaces: None,
    };
    let creation = store.create(new).await.expect("redis answers");
    assert!(matches!(creation, Creation::Stored { .. }), "{creation:?}");
    token
}

/// So many sessions of a tenant, each of another user; the tokens of the first few.
pub async fn tenant(store: &RedisStore, tenant: &str, sessions: usize, few: usize) -> Vec<SessionToken> {
    let made =
        futures_util::stream::iter(0..sessions).map(|user| session(store, tenant, user)).buffer_unordered(AT_ONCE);
    made.enumerate().filter_map(async |(at, token)| (at < few).then_some(token)).collect().await
}
