//! Many requests to backends of every temper: each gets its own answer, or none. What it gets is compared with what a
//! client would get that never uses a connection twice, which is its own answer and nothing else.
//!
//! `MIXED_EXCHANGES=10000000 cargo test --release --lib upstream::tests::model` searches longer, `MIXED_SEED` elsewhere.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{UnixListener, UnixStream};
use tokio::task::yield_now;

use super::*;

/// So many exchanges go to one upstream; the next begins without a past.
const ROUND: usize = 48;
const CLIENTS: usize = 4;

/// A small generator (SplitMix64): a run can be repeated.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// When something is written that belongs to no answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    WithTheAnswer,
    /// Within the time for which a connection rests.
    Soon,
    /// As soon as there is another request on the connection.
    BeforeTheNext,
}

/// What is wrong with a backend, a bit each.
const WRITES_BODIES_WHERE_THERE_ARE_NONE: u64 = 1;
const SAYS_MORE_THAN_ONE_THING: u64 = 2;
const WRITES_MORE_THAN_IT_STATES: u64 = 4;
const BREAKS_OFF: u64 = 8;
const LEAVES_BODIES_UNREAD: u64 = 16;
const CLOSES: u64 = 32;
const TALKS_NONSENSE: u64 = 64;
const FAULTS: u64 = 128;

/// What all tasks of a run share.
#[derive(Default)]
struct World {
    /// So many backends are about to write something that belongs to no answer.
    owed: AtomicUsize,
    /// So many requests came on a connection that had carried one.
    reused: AtomicUsize,
    /// So many answers had something beside them.
    ill: AtomicUsize,
}

/// The whole answer to a request, with its number.
fn own(number: &str) -> String {
    let body = format!("own {number}");
    format!("HTTP/1.1 200 OK\r\nX-For: {number}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A backend's end of one connection.
struct Server {
    stream: UnixStream,
    read: Vec<u8>,
    faults: u64,
    dice: Dice,
    world: Arc<World>,
    owes: Option<String>,
}

/// What was asked.
struct Asked {
    method: String,
    number: String,
    body: usize,
}

impl Server {
    /// The next request's head, and how long its body is.
    async fn ask(&mut self) -> Option<Asked> {
        loop {
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let mut words = head.split(' ');
                let method = words.next().unwrap().to_owned();
                let number = words.next()?.trim_start_matches('/').to_owned();
                return Some(Asked { method, number, body: length.map_or(0, |length| length.parse().unwrap()) });
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Option<()> {
        let mut piece = [0; 1024];
        let count = self.stream.read(&mut piece).await.ok().filter(|count| *count > 0)?;
        self.read.extend_from_slice(&piece[..count]);
        Some(())
    }

    /// Writes, at times in pieces.
    async fn say(&mut self, text: &str) {
        let split = if self.dice.one_in(3) { self.dice.below(text.len() + 1) } else { text.len() };
        let (first, second) = text.as_bytes().split_at(split);
        let _ = self.stream.write_all(first).await;
        if !second.is_empty() {
            for _ in 0..self.dice.below(4) {
                yield_now().await;
            }
            let _ = self.stream.write_all(second).await;
        }
    }

    fn has(&mut self, fault: u64) -> bool {
        self.faults & fault != 0 && self.dice.one_in(3)
    }

    async fn serve(mut self) {
        for turn in 0.. {
            let Some(asked) = self.ask().await else { return };
            self.world.reused.fetch_add(usize::from(turn > 0), Ordering::Relaxed);
            if let Some(beside) = self.owes.take() {
                self.say(&beside).await;
            }
            // What is left unread is its next request.
            if asked.body > 0 && !self.has(LEAVES_BODIES_UNREAD) {
                while self.read.len() < asked.body {
                    if self.more().await.is_none() {
                        return;
                    }
                }
                self.read.drain(..asked.body);
            }
            if self.answer(&asked).await.is_none() {
                return;
            }
        }
    }

    /// Answers, well or not; `None` ends the connection.
    async fn answer(&mut self, asked: &Asked) -> Option<()> {
        let number = &asked.number;
        let body = format!("own {number}");
        let length = body.len();
        if self.has(TALKS_NONSENSE) {
            let nonsense =
                ["nonsense\r\n\r\n", "HTTP/1.1 200 OK\r\nX\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n"];
            let nonsense = self.dice.of(&nonsense);
            self.say(nonsense).await;
            return self.dice.one_in(2).then_some(());
        }
        if self.has(BREAKS_OFF) {
            let whole = own(number);
            let end = self.dice.below(whole.len());
            self.say(&whole[..end]).await;
            return None;
        }
        let head = format!("X-For: {number}\r\n");
        let stated = format!("{head}Content-Length: {length}\r\n");
        let coded = format!("{head}Transfer-Encoding: chunked\r\n");
        let chunks = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
        let early = ["", "", "", "HTTP/1.1 103 Early Hints\r\n\r\n"];
        let early = if self.faults & SAYS_MORE_THAN_ONE_THING == 0 { "" } else { self.dice.of(&early) };
        let bodiless = if asked.method == "HEAD" {
            self.dice.of(&["200", "404"])
        } else {
            self.dice.of(&["200", "200", "204", "304"])
        };
        let (answer, mut beside) = if asked.method == "HEAD" || bodiless != "200" {
            let lines = self.dice.of(&[&head, &stated, &coded]).clone();
            let has_body = self.has(WRITES_BODIES_WHERE_THERE_ARE_NONE);
            let bodies = [own(number), body.clone(), chunks];
            let at = self.dice.below(3);
            (format!("HTTP/1.1 {bodiless} X\r\n{lines}\r\n"), has_body.then(|| (bodies[at].clone(), true)))
        } else if self.has(SAYS_MORE_THAN_ONE_THING) {
            let answer = self
                .dice
                .of(&[
                    &format!("HTTP/1.1 200 OK\r\n{stated}Content-Length: {length}\r\n\r\n{body}"),
                    &format!("HTTP/1.1 200 OK\r\n{head}Content-Length: 0{length}\r\n\r\n{body}"),
                    &format!("HTTP/1.1 200 OK\r\n{stated}Transfer-Encoding: chunked\r\n\r\n{chunks}"),
                    &format!("HTTP/1.0 200 OK\r\n{stated}Connection: keep-alive\r\n\r\n{body}"),
                    &format!("HTTP/1.1 200 OK\r\n{head}Content-Length : {length}\r\n\r\n{body}"),
                    &format!("HTTP/1.1 200 OK\r\n{head}X-A: 1\r\n 2\r\nContent-Length: {length}\r\n\r\n{body}"),
                    &format!("HTTP/1.1 200 OK\n{stated}\n{body}"),
                    &format!("\r\nHTTP/1.1 200 OK\r\n{stated}\r\n{body}"),
                    &format!("HTTP/1.1 205 X\r\n{stated}\r\n{body}"),
                    &format!("HTTP/1.1 200 OK\r\n{coded}\r\n{length:x}\r\n{body}\r\n0\r\nX-A: 1\r\n\r\n"),
                    &format!("HTTP/1.1 200 OK\r\n{coded}\r\n{length:x} \r\n{body}\r\n0\r\n\r\n"),
                ])
                .clone();
            (answer, Some((own(number), true)))
        } else {
            let answer = match self.dice.below(4) {
                0 => format!("HTTP/1.1 200 OK\r\n{coded}\r\n{chunks}"),
                _ => format!("HTTP/1.1 200 OK\r\n{stated}\r\n{body}"),
            };
            let more = self.has(WRITES_MORE_THAN_IT_STATES);
            (answer, more.then(|| (own(number), false)))
        };
        if !early.is_empty() && beside.is_none() {
            beside = Some((own(number), true));
        }
        self.tell(format!("{early}{answer}"), beside).await;
        if self.has(CLOSES) {
            match self.dice.below(3) {
                0 => self.say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n").await,
                1 => {
                    let _ = self.stream.shutdown().await;
                    return Some(());
                }
                _ => {}
            }
            return None;
        }
        Some(())
    }

    /// Writes an answer, and what belongs to none beside it: at any time if its end `can_be_argued_about`.
    async fn tell(&mut self, answer: String, beside: Option<(String, bool)>) {
        let Some((beside, can_be_argued_about)) = beside else { return self.say(&answer).await };
        self.world.ill.fetch_add(1, Ordering::Relaxed);
        let when = if can_be_argued_about {
            self.dice.of(&[When::WithTheAnswer, When::Soon, When::BeforeTheNext])
        } else {
            self.dice.of(&[When::WithTheAnswer, When::Soon])
        };
        match when {
            When::WithTheAnswer => {
                self.world.owed.fetch_add(1, Ordering::Relaxed);
                self.say(&format!("{answer}{beside}")).await;
                self.world.owed.fetch_sub(1, Ordering::Relaxed);
            }
            When::Soon => {
                self.world.owed.fetch_add(1, Ordering::Relaxed);
                self.say(&answer).await;
                for _ in 0..self.dice.below(30) {
                    yield_now().await;
                }
                self.say(&beside).await;
                self.world.owed.fetch_sub(1, Ordering::Relaxed);
            }
            When::BeforeTheNext => {
                self.say(&answer).await;
                self.owes = Some(beside);
            }
        }
    }
}

/// One exchange. Its own answer is fine, and so is none.
async fn exchange(upstream: &Upstream, number: usize, dice: &mut Dice) -> bool {
    let method = dice
        .of(&[Method::GET, Method::GET, Method::GET, Method::HEAD, Method::POST, Method::OPTIONS]
            .iter()
            .collect::<Vec<_>>())
        .clone();
    let smuggled = format!("GET /{number} HTTP/1.1\r\n\r\n");
    let body = if method == Method::POST && dice.one_in(2) {
        RequestBody::Full(Bytes::from(smuggled))
    } else {
        RequestBody::Empty
    };
    let Ok(answer) = upstream.send(request(method.clone(), &format!("/{number}"), body)).await else { return false };
    let status = answer.status();
    if status == 408 {
        return false;
    }
    let whose = answer.headers().get("x-for").map(|number| number.to_str().unwrap().to_owned());
    assert_eq!(whose, Some(number.to_string()), "{method} {status}");
    let has_body = method != Method::HEAD && status != 204 && status != 304;
    match answer.into_body().collect().await {
        Ok(body) => assert_eq!(
            body.to_bytes(),
            if has_body { format!("own {number}") } else { String::new() },
            "{method} {status}"
        ),
        Err(_) => return false,
    }
    true
}

#[derive(Debug, Default)]
struct Report {
    answered: usize,
    failed: usize,
}

async fn round(path: PathBuf, seed: u64, world: &Arc<World>) -> Report {
    let listener = UnixListener::bind(&path).unwrap();
    let mut dice = Dice(seed);
    // Those with many faults have no connection used again for long.
    let faults = match dice.below(3) {
        0 => 1 << dice.below(FAULTS.trailing_zeros() as usize),
        1 => dice.next() & dice.next() & (FAULTS - 1),
        _ => dice.next() & (FAULTS - 1),
    };
    let (time, clock) = clock();
    let keepalive = Some(Keepalive::of(60 * SECOND));
    let peers = vec![PeerAddress::Unix(path.clone())];
    let upstream = Arc::new(upstream_of(UpstreamSettings { keepalive, ..settings(peers) }, &clock));
    let serving = {
        let (world, mut dice) = (Arc::clone(world), Dice(dice.next()));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (dice, world) = (Dice(dice.next()), Arc::clone(&world));
                let server = Server { stream, read: Vec::new(), faults, dice, world, owes: None };
                tokio::spawn(server.serve());
            }
        })
    };
    let clients = (0..CLIENTS).map(|client| {
        let (upstream, time, world) = (Arc::clone(&upstream), Arc::clone(&time), Arc::clone(world));
        let mut dice = Dice(dice.next());
        tokio::spawn(async move {
            let mut report = Report::default();
            for turn in 0..ROUND / CLIENTS {
                if exchange(&upstream, turn * CLIENTS + client, &mut dice).await {
                    report.answered += 1;
                } else {
                    report.failed += 1;
                }
                // Time goes on when nothing is about to be written that belongs to the time before.
                if world.owed.load(Ordering::Relaxed) == 0 {
                    time.advance(SECOND / 100);
                }
            }
            report
        })
    });
    let mut sum = Report::default();
    for client in clients.collect::<Vec<_>>() {
        let report = client.await.unwrap_or_else(|_| panic!("seed {seed}, faults {faults:b}: an answer was mixed up"));
        sum.answered += report.answered;
        sum.failed += report.failed;
    }
    serving.abort();
    drop(upstream);
    std::fs::remove_file(path).unwrap();
    sum
}

#[tokio::test]
async fn every_client_gets_its_own_answer_or_none_whatever_backends_write_and_when() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let (exchanges, first) = (number("MIXED_EXCHANGES", 6000), number("MIXED_SEED", 1));
    let folder = tempfile::tempdir().unwrap();
    let world = Arc::new(World::default());
    let mut sum = Report::default();
    for turn in 0..exchanges.div_ceil(ROUND as u64) {
        let path = folder.path().join(format!("{turn}.sock"));
        let limit = timeout(60 * SECOND, round(path, first + turn, &world)).await;
        let report = limit.unwrap_or_else(|_| panic!("seed {}: it hangs", first + turn));
        sum.answered += report.answered;
        sum.failed += report.failed;
    }
    let (reused, ill) = (world.reused.load(Ordering::Relaxed), world.ill.load(Ordering::Relaxed));
    println!(
        "{} answered, {} not; {reused} on a used connection; {ill} with something beside them",
        sum.answered, sum.failed
    );
    let all = sum.answered + sum.failed;
    assert!(sum.answered > all / 2 && reused > all / 20 && ill > all / 20, "{sum:?}: it proves little");
}
