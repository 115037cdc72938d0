//! Requests on kept connections while the gateway is reloaded and restarted: none may fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::RestartArguments;
use crate::client::{Connection, Failed, Transport};
use crate::gateway::{Gateway, free_port, start_redis};
use crate::{backend, gateway};

const CLIENTS: usize = 32;
/// Failures that are told one by one.
const TOLD: usize = 5;

/// What all clients of a run count.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    answered: AtomicU64,
    sent_again: AtomicU64,
    failed: AtomicU64,
    wrong: AtomicU64,
}

pub async fn run(arguments: &RestartArguments) {
    println!("\n| transport | requests | reloads | restarts | failed | another's answer | sent again | requests/s |");
    println!("|---|---|---|---|---|---|---|---|");
    for transport in ["plain", "tls", "proxy"] {
        run_over(transport, arguments).await;
    }
}

async fn run_over(transport: &str, arguments: &RestartArguments) {
    let backend = backend::start().await;
    let port = free_port();
    let redis = start_redis(port).await;
    let server = match transport {
        "tls" => "tls = { cert = \"{dir}/tls.crt\", key = \"{dir}/tls.key\" }",
        "proxy" => "proxy_protocol = \"required\"\ntrusted_proxies = [\"127.0.0.1/32\"]",
        _ => "",
    };
    let admin = free_port();
    let settings = format!(
        "[server]\nmode = \"development\"\nlisten = \"127.0.0.1:{{port}}\"\npublic_url = \"http://localhost:{{port}}\"\n\
         hosts = [\"*\"]\nreuse_port = true\ndrain_delay = \"200ms\"\n{server}\n\
         [upstream]\nurl = \"http://{backend}\"\nkeepalive = \"10s\"\nresponse_timeout = \"60s\"\n\
         [store]\nredis = \"redis://127.0.0.1:{port}/0\"\n\
         [cookie]\nname = \"session-gateway\"\n\
         [login]\npath = \"/api/login\"\ntenant = [\"/customer_id\"]\nuser = [\"/user_id\"]\n\
         [admin]\nlisten = \"127.0.0.1:{admin}\"\n[audit]\nfile = \"{{dir}}/audit.jsonl\"\n\
         [telemetry]\nlevel = \"info\"\n"
    );
    let mut gateway = Gateway::start(&settings).await;
    let transport = match transport {
        "tls" => Transport::Tls(Arc::new(trusting(&gateway))),
        "proxy" => Transport::Proxy,
        _ => Transport::Plain,
    };
    let counts = Arc::new(Counts::default());
    let begin = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|user| tokio::spawn(client(user, gateway.address, transport.clone(), counts.clone())))
        .collect();
    let steps = arguments.reloads + arguments.restarts;
    let (mut reloads, mut restarts) = (0, 0);
    for step in 1..=steps {
        until_answered(&counts, arguments.requests * step / (steps + 1)).await;
        // Restarts are spread evenly among the reloads.
        if restarts * steps < step * arguments.restarts && restarts < arguments.restarts {
            gateway.restart().await;
            restarts += 1;
        } else {
            let done = gateway.reloads();
            let (from, to) = if reloads % 2 == 0 { ("60s", "61s") } else { ("61s", "60s") };
            gateway.reload(from, to);
            gateway::wait_for("the reload", || gateway.reloads() > done).await;
            reloads += 1;
        }
    }
    until_answered(&counts, arguments.requests).await;
    counts.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client does not panic");
    }
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (answered, seconds) = (get(&counts.answered), begin.elapsed().as_secs_f64());
    println!(
        "| {} | {answered} | {reloads} | {restarts} | {} | {} | {} | {:.0} |",
        transport.name(),
        get(&counts.failed),
        get(&counts.wrong),
        get(&counts.sent_again),
        answered as f64 / seconds
    );
    assert_eq!((get(&counts.failed), get(&counts.wrong)), (0, 0), "requests failed");
    drop(redis);
}

/// A TLS client that trusts the gateway's own certificate.
pub fn trusting(gateway: &Gateway) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(gateway.path("tls.crt")).expect("it was written");
    roots.add(certificate).expect("a certificate");
    rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()
}

async fn until_answered(counts: &Counts, goal: u64) {
    let mut seen = (counts.answered.load(Ordering::Relaxed), Instant::now());
    loop {
        let answered = counts.answered.load(Ordering::Relaxed);
        if answered >= goal {
            return;
        }
        if answered > seen.0 {
            seen = (answered, Instant::now());
        }
        assert!(seen.1.elapsed() < Duration::from_secs(60), "nothing is answered any more");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One user, who logs in once and asks until the end, on kept connections.
async fn client(user: usize, to: std::net::SocketAddr, transport: Transport, counts: Arc<Counts>) {
    let expected = format!("t{user} u{user}");
    let mut open: Option<Connection> = None;
    let mut cookie = None;
    while !counts.stop.load(Ordering::Relaxed) {
        match exchange(&mut open, &mut cookie, user, to, &transport).await {
            Ok(body) if body == expected.as_bytes() => drop(counts.answered.fetch_add(1, Ordering::Relaxed)),
            Ok(body) => {
                counts.wrong.fetch_add(1, Ordering::Relaxed);
                println!("a wrong answer: {:?} instead of {expected}", String::from_utf8_lossy(&body));
                open = None;
            }
            Err(Failed::ClosedWhileIdle) => {
                counts.sent_again.fetch_add(1, Ordering::Relaxed);
                open = None;
            }
            Err(Failed::Other(cause)) => {
                if counts.failed.fetch_add(1, Ordering::Relaxed) < TOLD as u64 {
                    println!("a request failed: {cause}");
                }
                open = None;
            }
        }
    }
}

async fn exchange(
    open: &mut Option<Connection>,
    cookie: &mut Option<String>,
    user: usize,
    to: std::net::SocketAddr,
    transport: &Transport,
) -> Result<Vec<u8>, Failed> {
    let mut connection = match open.take() {
        Some(connection) => connection,
        None => Connection::open(to, transport).await?,
    };
    if cookie.is_none() {
        *cookie = Some(connection.log_in(user).await?);
    }
    let answer = connection.get("/orders/7", cookie.as_deref()).await?;
    if answer.status != 200 {
        return Err(Failed::Other(format!("status {}", answer.status)));
    }
    if !answer.closes {
        *open = Some(connection);
    }
    Ok(answer.body)
}
