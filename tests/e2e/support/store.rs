//! The stores that the same tests run on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::redis::RedisServer;

/// Where a gateway under test keeps its sessions. Gateways with clones of one Redis store share their sessions.
#[derive(Clone, Debug)]
pub enum Store {
    /// A file in the gateway's own directory.
    Embedded,
    /// A Redis, with a key prefix of its own.
    Redis {
        /// The server.
        url: String,
        /// The prefix of all keys.
        prefix: String,
    },
}

impl Store {
    /// A part of the one Redis that the whole test binary shares.
    pub fn redis() -> Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        Self::on(SHARED.get_or_init(RedisServer::start))
    }

    /// A part of the given Redis.
    pub fn on(server: &RedisServer) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self::Redis { url: server.url(), prefix: format!("test{}:", NEXT.fetch_add(1, Ordering::Relaxed)) }
    }
}

/// One test, run on both stores: `name::embedded` and `name::redis`.
#[macro_export]
macro_rules! on_both_stores {
    ($(#[$attribute:meta])* $name:ident, |$store:ident| $body:block) => {
        $(#[$attribute])*
        fn $name($store: $crate::support::Store) $body

        mod $name {
            #[test]
            fn embedded() {
                super::$name($crate::support::Store::Embedded);
            }

            #[test]
            fn redis() {
                super::$name($crate::support::Store::redis());
            }
        }
    };
}
