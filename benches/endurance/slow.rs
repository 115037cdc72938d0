//! Slow clients on many addresses beside a normal user, whose waiting must not grow twofold.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use crate::SlowArguments;
use crate::backend;
use crate::client::{Connection, Transport, connect_from};
use crate::gateway::{Gateway, free_port};

/// Requests a second of the normal user.
const RATE: f64 = 200.0;
/// How far the user's p99 may grow.
const BOUND: f64 = 2.0;
/// Addresses that the slow clients come from.
const ADDRESSES: usize = 200;

/// How a client is slow.
#[derive(Clone, Copy)]
enum Slowness {
    /// A byte of its headers a second.
    Headers,
    /// A byte of its body a second.
    Body,
    /// Never reads its answer.
    Reader,
    /// Says nothing.
    Silent,
}

pub async fn run(arguments: &SlowArguments) {
    let backend = backend::start().await;
    let admin = free_port();
    let gateway = Gateway::start(&format!(
        "[server]\nmode = \"development\"\nlisten = \"127.0.0.1:{{port}}\"\npublic_url = \"http://localhost:{{port}}\"\n\
         hosts = [\"*\"]\n[upstream]\nurl = \"http://{backend}\"\nkeepalive = \"10s\"\n\
         [store]\nembedded = \"{{dir}}/sessions.redb\"\n\
         [cookie]\nname = \"session-gateway\"\n\
         [login]\npath = \"/api/login\"\ntenant = [\"/customer_id\"]\nuser = [\"/user_id\"]\n\
         [[routes]]\nmatch = [\"/large\", \"/public\"]\nauth = \"public\"\n\
         [admin]\nlisten = \"127.0.0.1:{admin}\"\n[audit]\nfile = \"{{dir}}/audit.jsonl\"\n[telemetry]\nlevel = \"error\"\n"
    ))
    .await;
    let at_rest = gateway.process().memory();
    let quiet = normal_user(gateway.address, arguments.time()).await;
    let open = Arc::new(AtomicUsize::new(0));
    // On a runtime of their own: what they cost here is not what the user waits for.
    let elsewhere =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let mut attackers = JoinSet::new();
    for number in 0..arguments.connections {
        let source = Ipv4Addr::new(127, 0, 1, u8::try_from(1 + number % ADDRESSES).expect("below 256"));
        let slowness = [Slowness::Headers, Slowness::Body, Slowness::Reader, Slowness::Silent][number / ADDRESSES % 4];
        attackers.spawn_on(attack(source, gateway.address, slowness, open.clone()), elsewhere.handle());
        // Fast enough to fill, slow enough for the accept queue.
        if number % 50 == 49 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let begin = Instant::now();
    while open.load(Ordering::Relaxed) < arguments.connections * 95 / 100 && begin.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (before, cpu) = (open.load(Ordering::Relaxed), gateway.process().cpu_seconds());
    let under_attack = normal_user(gateway.address, arguments.time()).await;
    let cpu = (gateway.process().cpu_seconds() - cpu) / arguments.time().as_secs_f64();
    let memory = gateway.process().memory();
    let after = open.load(Ordering::Relaxed);
    elsewhere.shutdown_background();
    println!("\n| | quiet | beside slow connections |");
    println!("|---|---|---|");
    println!("| slow connections, at the beginning and the end | 0 | {before}, {after} |");
    println!("| a normal user's p50 | {} | {} |", millis(quiet.p50), millis(under_attack.p50));
    println!("| a normal user's p99 | {} | {} |", millis(quiet.p99), millis(under_attack.p99));
    println!(
        "| a normal user's failures of requests | {} of {} | {} of {} |",
        quiet.failed, quiet.count, under_attack.failed, under_attack.count
    );
    println!("| the gateway's memory, MiB | {} | {} |", at_rest >> 20, memory >> 20);
    println!("| the gateway's CPU, of one core | | {:.0} % |", cpu * 100.0);
    assert_eq!(quiet.failed + under_attack.failed, 0, "a normal user's requests failed");
    assert!(
        under_attack.p99.as_secs_f64() < BOUND * quiet.p99.as_secs_f64(),
        "a normal user's p99 grew more than {BOUND} times"
    );
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

struct Seen {
    count: usize,
    failed: usize,
    p50: Duration,
    p99: Duration,
}

/// Logs in, and asks at a steady rate. A request's time counts from when it was due.
async fn normal_user(to: SocketAddr, time: Duration) -> Seen {
    let mut connection = Connection::open(to, &Transport::Plain).await.expect("a connection");
    let cookie = connection.log_in(1).await.expect("a session");
    let gap = Duration::from_secs_f64(1.0 / RATE);
    let begin = Instant::now();
    let (mut times, mut failed, mut due) = (Vec::new(), 0, begin);
    while begin.elapsed() < time {
        tokio::time::sleep_until(due.into()).await;
        match connection.get("/orders/7", Some(&cookie)).await {
            Ok(answer) if answer.status == 200 && answer.body == b"t1 u1" => times.push(due.elapsed()),
            _ => {
                failed += 1;
                connection = Connection::open(to, &Transport::Plain).await.expect("a connection");
            }
        }
        due += gap;
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    Seen { count: times.len() + failed, failed, p50: at(50), p99: at(99) }
}

/// Keeps one slow connection open: when it is cut, another takes its place.
async fn attack(source: Ipv4Addr, to: SocketAddr, slowness: Slowness, open: Arc<AtomicUsize>) {
    loop {
        if let Ok(mut stream) = connect_from(IpAddr::V4(source), to).await {
            open.fetch_add(1, Ordering::Relaxed);
            let _ = crawl(&mut stream, slowness).await;
            open.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Until the gateway has enough of it.
async fn crawl(stream: &mut tokio::net::TcpStream, slowness: Slowness) -> std::io::Result<()> {
    let start: &[u8] = match slowness {
        Slowness::Headers => b"GET /public HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        Slowness::Body => b"POST /public HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n",
        Slowness::Reader => b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n",
        Slowness::Silent => b"",
    };
    stream.write_all(start).await?;
    let mut byte = [0];
    match slowness {
        Slowness::Headers | Slowness::Body => loop {
            stream.write_all(b"x").await?;
            let pause = tokio::time::sleep(Duration::from_secs(1));
            tokio::select! {
                () = pause => {}
                // An answer, or the end: it will not wait any longer.
                _ = stream.read(&mut byte) => return Ok(()),
            }
        },
        // Woken by nothing but the end: what has come is left in the socket.
        Slowness::Reader => loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            stream.write_all(b"").await?;
            if stream.take_error()?.is_some() || is_hung_up(stream) {
                return Ok(());
            }
        },
        Slowness::Silent => stream.read(&mut byte).await.map(drop),
    }
}

/// Whether the gateway closed or reset the connection, whatever is still unread.
fn is_hung_up(stream: &tokio::net::TcpStream) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let _ = poll(&mut polled, Some(&now));
    polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}
