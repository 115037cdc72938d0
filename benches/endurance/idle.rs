//! What an idle connection costs.

use std::time::Duration;

use crate::client::{Connection, Transport, connect_from};
use crate::gateway::{Gateway, free_port};
use crate::{backend, restarts};

/// Connections of each kind.
const COUNT: usize = 5000;

pub async fn run() {
    println!("\n| {COUNT} idle connections | the gateway's memory, MiB | each, KiB |");
    println!("|---|---|---|");
    for (name, tls, requests) in [
        ("that said nothing", false, 0),
        ("kept after one request", false, 1),
        ("kept after a request with a session", false, 2),
        ("over TLS, kept after one request", true, 1),
    ] {
        let backend = backend::start().await;
        let admin = free_port();
        let server = if tls { "tls = { cert = \"{dir}/tls.crt\", key = \"{dir}/tls.key\" }" } else { "" };
        let gateway = Gateway::start(&format!(
            "[server]\nmode = \"development\"\nlisten = \"127.0.0.1:{{port}}\"\npublic_url = \"http://localhost:{{port}}\"\n\
             hosts = [\"*\"]\nmax_connections_per_address = {}\nheader_timeout = \"60s\"\n{server}\n\
             [upstream]\nurl = \"http://{backend}\"\nkeepalive = \"1s\"\n\
             [store]\nembedded = \"{{dir}}/sessions.redb\"\n[cookie]\nname = \"session-gateway\"\n\
             [login]\npath = \"/api/login\"\ntenant = [\"/customer_id\"]\nuser = [\"/user_id\"]\n\
             [[routes]]\nmatch = [\"/public\"]\nauth = \"public\"\n\
             [admin]\nlisten = \"127.0.0.1:{admin}\"\n[audit]\nfile = \"{{dir}}/audit.jsonl\"\n[telemetry]\nlevel = \"error\"\n",
            COUNT + 10
        ))
        .await;
        let transport = if tls { Transport::Tls(restarts::trusting(&gateway).into()) } else { Transport::Plain };
        // What the first request of all makes is not the connections'.
        let mut first = Connection::open(gateway.address, &transport).await.expect("a connection");
        let cookie = first.log_in(1).await.expect("a session");
        first.get("/orders", Some(&cookie)).await.expect("an answer");
        let before = gateway.process().memory();
        let (mut silent, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..COUNT {
            if requests == 0 {
                let from = std::net::IpAddr::from([127, 0, 0, 1]);
                silent.push(connect_from(from, gateway.address).await.expect("a connection"));
                continue;
            }
            let mut connection = Connection::open(gateway.address, &transport).await.expect("a connection");
            let answer = match requests {
                1 => connection.get("/public", None).await,
                _ => connection.get("/orders", Some(&cookie)).await,
            };
            assert_eq!(answer.expect("an answer").status, 200);
            kept.push(connection);
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let memory = gateway.process().memory();
        let each = memory.saturating_sub(before) / COUNT;
        println!("| {name} | {} | {:.1} |", memory >> 20, each as f64 / 1024.0);
    }
}
