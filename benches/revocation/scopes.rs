//! Ends a session, a user and a tenant again and again, and the same of access tokens, and watches every gateway.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use session_gateway::session::{By, EndReason, Revocation, Scope, SessionToken, TenantId};
use session_gateway::store::SessionStore as _;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::client::{Connection, Transport};
use crate::gateway::{Gateway, Process, free_port, start_redis};
use crate::ping::Pinger;
use crate::relay::Relay;
use crate::seed::Seeder;
use crate::tokens::Tokens;
use crate::{Arguments, Cache, backend, shown};

/// Sessions of a user.
const OF_A_USER: usize = 3;
/// How often a gateway is asked before what it knows is taken to be in its cache.
const WARM: usize = 3;
/// No end is seen later than this (docs/behaviour.md, "Store").
const NEVER_LATER: Duration = Duration::from_secs(1);

/// The gateways with their Redis.
struct Fleet {
    gateways: Vec<Gateway>,
    relay: Option<Relay>,
    seeder: Seeder,
    tokens: Tokens,
    pinger: Pinger,
    _redis: Process,
}

/// What a try measured.
struct Try {
    /// From the call's start to the start of the last request that was accepted anywhere.
    from_call: Duration,
    /// The same from its answer; zero where none was accepted after it.
    from_answer: Duration,
}

pub async fn run(arguments: &Arguments, gateways: usize) {
    let fleet = Fleet::start(arguments, gateways).await;
    let stalls = arguments.stalled;
    let tries = if stalls { arguments.tenants } else { arguments.tries };
    fleet.table("a session", tries, async |turn| fleet.end_session(turn).await).await;
    fleet.table("a user", tries, async |turn| fleet.end_user(turn).await).await;
    fleet.table("a token", tries, async |turn| fleet.end_token(turn).await).await;
    fleet.table("a user's tokens", tries, async |turn| fleet.end_tokens_of_user(turn).await).await;
    fleet.table("a tenant's tokens", tries, async |turn| fleet.end_tokens_of_tenant(turn).await).await;
    let ended = format!("a tenant of {}", arguments.sessions);
    fleet.table(&ended, arguments.tenants, async |turn| fleet.end_tenant(turn, arguments.sessions).await).await;
}

impl Fleet {
    async fn start(arguments: &Arguments, count: usize) -> Self {
        let port = free_port();
        let redis = start_redis(port).await;
        let relay = arguments.stalled.then(|| Relay::before(SocketAddr::from(([127, 0, 0, 1], port))));
        let url = relay.as_ref().map_or_else(|| format!("redis://127.0.0.1:{port}/0"), Relay::url);
        let cache = if arguments.cache == Cache::On { "" } else { "cache_entries = \"off\"" };
        let (backend, tokens) = (backend::start().await, Tokens::new());
        let bearer = tokens.believed();
        let mut gateways = Vec::new();
        for _ in 0..count {
            let admin = free_port();
            gateways.push(
                Gateway::start(&format!(
                    "[server]\nmode = \"development\"\nlisten = \"127.0.0.1:{{port}}\"\n\
                     public_url = \"http://app.test\"\nhosts = [\"*\"]\n\
                     [upstream]\nurl = \"http://{backend}\"\nkeepalive = \"10s\"\n\
                     [store]\nredis = \"{url}\"\njournal = \"{{dir}}/journal.redb\"\n{cache}\n\
                     [cookie]\nname = \"session-gateway\"\n\
                     [login]\npath = \"/api/login\"\ntenant = [\"/customer_id\"]\nuser = [\"/user_id\"]\n\
                     {bearer}[admin]\nlisten = \"127.0.0.1:{admin}\"\n[audit]\nfile = \"{{dir}}/audit.jsonl\"\n\
                     [telemetry]\nlevel = \"warn\"\n"
                ))
                .await,
            );
        }
        // Their caches follow the server by now.
        sleep(Duration::from_millis(500)).await;
        let (seeder, pinger) = (Seeder::connect(port).await, Pinger::start(port).await);
        Self { gateways, relay, seeder, tokens, pinger, _redis: redis }
    }

    async fn table(&self, ended: &str, tries: usize, one: impl AsyncFn(usize) -> Try) {
        self.pinger.worst();
        sleep(Duration::from_secs(2)).await;
        let quiet = self.pinger.worst();
        let (mut from_call, mut from_answer, mut worst) = (Vec::new(), Vec::new(), Duration::ZERO);
        for turn in 0..tries {
            let measured = one(turn).await;
            worst = worst.max(self.pinger.worst());
            assert!(measured.from_answer < NEVER_LATER, "{ended}: accepted {:?} after its end", measured.from_answer);
            from_call.push(measured.from_call);
            from_answer.push(measured.from_answer);
        }
        from_call.sort();
        from_answer.sort();
        let at = |times: &[Duration], percent: usize| shown(times[(times.len() * percent / 100).min(times.len() - 1)]);
        println!(
            "| {} | {ended} | {tries} | {} | {} | {} | {} | {} | {} | {} |",
            self.gateways.len(),
            at(&from_call, 50),
            at(&from_call, 99),
            at(&from_call, 100),
            at(&from_answer, 99),
            at(&from_answer, 100),
            shown(worst),
            shown(quiet)
        );
    }

    async fn connection(&self, at: usize) -> Connection {
        Connection::open(self.gateways[at % self.gateways.len()].address, &Transport::Plain)
            .await
            .expect("a connection")
    }

    async fn end_session(&self, turn: usize) -> Try {
        let tokens = self.seeder.user("t", &format!("one-{turn}"), 1).await;
        let cookie = cookie(&tokens[0]);
        let watched = vec![cookie.clone(); self.gateways.len()];
        self.watch(watched, async {
            let answer = self.connection(turn).await.send(&post("/api/logout", &cookie)).await.expect("an answer");
            assert_eq!(answer.status, 200);
        })
        .await
    }

    async fn end_user(&self, turn: usize) -> Try {
        let tokens = self.seeder.user("t", &format!("all-{turn}"), OF_A_USER).await;
        let cookies: Vec<String> = tokens.iter().map(cookie).collect();
        let watched = (0..self.gateways.len()).map(|at| cookies[at % OF_A_USER].clone()).collect();
        self.watch(watched, async {
            let call = post("/api/auth/revoke-all-tokens", &cookies[0]);
            let answer = self.connection(turn).await.send(&call).await.expect("an answer");
            let told = String::from_utf8_lossy(&answer.body).into_owned();
            assert!(told.contains(&format!("\"invalidated_sessions\":{OF_A_USER}}}")), "{told}");
        })
        .await
    }

    async fn end_token(&self, turn: usize) -> Try {
        let token = bearer(&self.tokens.of("t", &format!("bearer-{turn}")));
        let watched = vec![token.clone(); self.gateways.len()];
        // The backend answers a logout.
        self.watch(watched, self.call(turn, post("/api/logout", &token), "")).await
    }

    async fn end_tokens_of_user(&self, turn: usize) -> Try {
        let user = format!("bearers-{turn}");
        let tokens: Vec<String> = (0..OF_A_USER).map(|_| bearer(&self.tokens.of("t", &user))).collect();
        let watched = (0..self.gateways.len()).map(|at| tokens[at % OF_A_USER].clone()).collect();
        self.watch(watched, self.call(turn, post("/api/auth/revoke-all-tokens", &tokens[0]), "\"token_revoked\":true"))
            .await
    }

    /// By another instance, of which nothing has to be counted.
    async fn end_tokens_of_tenant(&self, turn: usize) -> Try {
        let tenant = format!("bearers-{turn}");
        let watched = (0..self.gateways.len()).map(|user| bearer(&self.tokens.of(&tenant, &user.to_string())));
        self.watch(watched.collect(), async {
            let scope = Scope::Tenant { tenant: TenantId::parse(&tenant).expect("a tenant") };
            let revocation = Revocation { scope, reason: EndReason::TenantRevoked, by: By::Gateway };
            self.seeder.store.revoke(&revocation).await.expect("redis answers");
        })
        .await
    }

    /// Calls one of the gateways; the answer says this.
    async fn call(&self, turn: usize, call: String, says: &str) {
        let answer = self.connection(turn).await.send(&call).await.expect("an answer");
        let told = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 200 && told.contains(says), "{} {told}", answer.status);
    }

    /// By another instance, which answers once all are counted.
    async fn end_tenant(&self, turn: usize, sessions: usize) -> Try {
        let tenant = format!("tenant-{turn}");
        let tokens = self.seeder.tenant(&tenant, sessions).await;
        // The server writes down what was made before it is asked how quick it is.
        self.pinger.worst();
        let cookies = tokens.iter().take(self.gateways.len()).map(cookie).collect();
        self.watch(cookies, async {
            let scope = Scope::Tenant { tenant: TenantId::parse(&tenant).expect("a tenant") };
            let revocation = Revocation { scope, reason: EndReason::TenantRevoked, by: By::Gateway };
            let revoked = self.seeder.store.revoke(&revocation).await.expect("redis answers");
            // On a busy machine the counting may take longer than the 5 s that an answer waits; it says so.
            assert!(!revoked.complete || revoked.ended == sessions as u64, "{revoked:?}");
            if !revoked.complete {
                println!("| | still counting after its answer | | {} of {sessions} | | | | | | |", revoked.ended);
            }
        })
        .await
    }

    /// Has every gateway accept what it is shown, then ends that, and asks until every gateway refuses.
    async fn watch(&self, credentials: Vec<String>, end: impl Future<Output = ()>) -> Try {
        let mut watchers = Vec::new();
        for (at, credential) in credentials.into_iter().enumerate() {
            let mut connection = self.connection(at).await;
            for _ in 0..WARM {
                assert_eq!(connection.send(&get(&credential)).await.expect("an answer").status, 200);
            }
            watchers.push(watcher(connection, credential));
        }
        if let Some(relay) = &self.relay {
            relay.stall();
        }
        sleep(Duration::from_millis(2)).await;
        let called = Instant::now();
        end.await;
        let answered = Instant::now();
        let mut last = called;
        for watcher in watchers {
            last = last.max(watcher.await.expect("a watcher").unwrap_or(called));
        }
        if let Some(relay) = &self.relay {
            relay.go_on();
            // Until they follow again.
            sleep(Duration::from_secs(1)).await;
        }
        Try { from_call: last.duration_since(called), from_answer: last.saturating_duration_since(answered) }
    }
}

/// Asks until it is refused; when the last request that was accepted began.
fn watcher(mut connection: Connection, credential: String) -> JoinHandle<Option<Instant>> {
    tokio::spawn(async move {
        let mut last = None;
        loop {
            let begin = Instant::now();
            match connection.send(&get(&credential)).await.expect("an answer").status {
                200 => last = Some(begin),
                401 => return last,
                status => panic!("answered {status}"),
            }
            sleep(Duration::from_micros(200)).await;
        }
    })
}

/// The line that shows a session.
fn cookie(token: &SessionToken) -> String {
    format!("Cookie: session-gateway={}\r\n", token.expose_secret())
}

/// The line that shows an access token.
fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn get(credential: &str) -> String {
    format!("GET /x HTTP/1.1\r\nHost: localhost\r\nX-Customer-ID: evil\r\n{credential}\r\n")
}

fn post(path: &str, credential: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{credential}\r\n")
}
