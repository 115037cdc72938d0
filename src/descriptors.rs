//! File descriptors: how many the system gives, and for what.
//!
//! Clients must never take the last one: a gateway that cannot reach its backend, its store or its audit file serves
//! nobody, and one that does not answer its operators cannot be helped. So what clients can cause is bounded by shares of
//! what there is, and the rest is kept.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::upstream::MAX_IDLE;

/// Where no limit is set, what the kernel gives a process unless it is told otherwise (`fs.nr_open`).
const UNLIMITED: u64 = 1 << 20;
/// The most client connections where the configuration does not say.
const MOST_CONNECTIONS: usize = 20_000;
/// What the process has open by itself: its streams, the runtime, the store with its tracker and journal, audit and log;
/// and what it opens for a moment: names to be resolved, certificates and the configuration to be read again, a connection
/// that is refused.
const OWN: usize = 36;
/// The most connections of operators, and the fewest.
const MOST_ADMIN: usize = 64;
const FEWEST_ADMIN: usize = 4;

/// For what there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Client connections.
    pub connections: usize,
    /// Exchanges under way, each of which may have a connection to a backend and a spooled body.
    pub exchanges: usize,
    /// Connections of operators.
    pub admin: usize,
}

/// The system gives too few.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooFew {
    /// Nothing could be served.
    #[error(
        "the limit of open files is {limit}, and the gateway needs {needed} to begin with; raise it (systemd: \
         LimitNOFILE, else: ulimit -n)"
    )]
    ToBegin {
        /// What there is.
        limit: usize,
        /// What is needed.
        needed: usize,
    },
    /// Not so many connections.
    #[error(
        "server.max_connections: is {wanted}, and the limit of open files, {limit}, has room for {most} with their \
         backends'; raise the limit to {needed} (systemd: LimitNOFILE, else: ulimit -n), or lower the key or leave it out"
    )]
    ForConnections {
        /// The limit.
        limit: usize,
        /// What the configuration asks for.
        wanted: usize,
        /// What there is room for.
        most: usize,
        /// The limit that would do.
        needed: usize,
    },
}

/// How many descriptors this process may have, once its soft limit is raised: that one is low for the sake of programs
/// that use `select`, and this is none.
#[must_use]
pub fn most() -> usize {
    count(getrlimit(Resource::Nofile).maximum)
}

/// Raises the soft limit to the hard one; answers how many descriptors there are.
#[must_use]
pub fn raise() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Some(maximum.unwrap_or(UNLIMITED));
    match setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum }) {
        Ok(()) => count(maximum),
        Err(_) => count(current),
    }
}

fn count(limit: Option<u64>) -> usize {
    usize::try_from(limit.unwrap_or(UNLIMITED)).unwrap_or(usize::MAX)
}

impl Room {
    /// What a configuration has room for, with so many descriptors.
    ///
    /// # Errors
    /// When it asks for more, or nothing could be served.
    pub fn with(limit: usize, config: &Config) -> Result<Self, TooFew> {
        let peers = config.upstreams.values().map(|upstream| upstream.peers.len()).sum::<usize>();
        let keeping = config.upstreams.values().filter(|upstream| upstream.keepalive.is_some());
        let idle = keeping.map(|upstream| upstream.peers.len()).sum::<usize>() * MAX_IDLE;
        let admin = (limit / 16).clamp(FEWEST_ADMIN, MOST_ADMIN);
        // A listening socket each, and a check of each peer.
        let own = OWN + config.server.listen.len() + 1 + peers + admin;
        let rest = limit.saturating_sub(own);
        let connections = match config.server.max_connections {
            // A third for clients, a third for backends, a third for bodies.
            None => (rest / 3).min(MOST_CONNECTIONS),
            Some(wanted) if wanted > rest / 2 => {
                return Err(TooFew::ForConnections { limit, wanted, most: rest / 2, needed: own + 2 * wanted });
            }
            Some(wanted) => wanted,
        };
        let rest = rest - connections;
        let exchanges = (rest - idle.min(rest / 3)) / 2;
        if connections == 0 || exchanges == 0 {
            return Err(TooFew::ToBegin { limit, needed: own + 3 });
        }
        Ok(Self { connections, exchanges, admin })
    }

    /// What is to be said of a limit that leaves fewer connections than usual, where the configuration does not say how many.
    #[must_use]
    pub fn warning(&self, limit: usize, config: &Config) -> Option<String> {
        let fewer = config.server.max_connections.is_none() && self.connections < MOST_CONNECTIONS;
        fewer.then(|| {
            format!(
                "the limit of open files, {limit}, has room for {} client connections; raise it (systemd: LimitNOFILE, else: \
                 ulimit -n), or set server.max_connections",
                self.connections
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        let text = format!(
            "server.public_url = \"https://a.test\"\nupstream.url = \"http://127.0.0.1:1\"\nstore.embedded = \"s\"\n{more}"
        );
        Config::parse("t.toml", &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn clients_never_get_the_last_descriptors() {
        for more in ["", "upstream.keepalive = \"1s\"", "server.max_connections = 8"] {
            let config = config(more);
            for limit in [64, 100, 256, 1024, 4096, 65_536, 1 << 20, usize::MAX] {
                let room = Room::with(limit, &config).unwrap_or_else(|error| panic!("{limit}: {error}"));
                let kept = limit - room.connections - 2 * room.exchanges - room.admin;
                assert!(kept >= OWN, "{limit}: {room:?}");
                assert!(room.exchanges >= room.connections.min(MOST_CONNECTIONS) / 2, "{limit}: {room:?}");
            }
        }
        let full = Room::with(65_536, &config("")).expect("room");
        assert_eq!((full.connections, full.admin), (MOST_CONNECTIONS, MOST_ADMIN));
    }

    #[test]
    fn more_connections_than_there_is_room_for_are_refused_with_what_to_do() {
        let error = Room::with(1024, &config("server.max_connections = 2000")).expect_err("too many");
        let TooFew::ForConnections { needed, most, .. } = error else { panic!("{error}") };
        assert!(Room::with(needed, &config("server.max_connections = 2000")).is_ok());
        assert!(Room::with(1024, &config(&format!("server.max_connections = {most}"))).is_ok());
        let error = Room::with(20, &config("")).expect_err("too few");
        let TooFew::ToBegin { needed, .. } = error else { panic!("{error}") };
        assert!(Room::with(needed, &config("")).is_ok());
        assert!(Room::with(needed - 1, &config("")).is_err());
    }
}
