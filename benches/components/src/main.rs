//! pingora's component crates beside what the gateway has in their place: the choice of a backend by a key, places
//! counted by client, deadlines. `cargo run --release` prints all of it; what the figures mean is in docs/adr/0001.

#![allow(dead_code, reason = "the gateway's own file, of which the bench needs a part")]

use std::collections::HashMap;
use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use divan::Bencher;
use parking_lot::Mutex;
use pingora_ketama::{Bucket, Continuum};
use pingora_limits::inflight::Inflight;

#[path = "../../../src/upstream/balance.rs"]
mod balance;

use balance::{Balance, Candidate, Standing, fingerprint, order};

fn main() {
    divan::main();
    told_as_crowded();
}

fn addresses(count: u16) -> Vec<SocketAddr> {
    (0..count).map(|number| SocketAddr::from(([127, 0, 0, 1], 5000 + number))).collect()
}

fn candidates(count: u16) -> Vec<Candidate> {
    let of = |address: &SocketAddr| Candidate {
        standing: Standing::In,
        load: 0,
        fingerprint: fingerprint(&address.to_string()),
    };
    addresses(count).iter().map(of).collect()
}

const PEERS: [u16; 3] = [2, 8, 64];

/// All peers in the order in which they are to be tried for a key, those that are out last.
#[divan::bench(args = PEERS)]
fn choice_ours(bencher: Bencher<'_, '_>, peers: u16) {
    let candidates = candidates(peers);
    bencher.bench(|| order(Balance::HashKey, black_box(&candidates), 0, Some(black_box("customer-42"))));
}

/// The same by ketama: its ring is walked until each peer came.
#[divan::bench(args = PEERS)]
fn choice_ketama(bencher: Bencher<'_, '_>, peers: u16) {
    let buckets: Vec<Bucket> = addresses(peers).into_iter().map(|address| Bucket::new(address, 1)).collect();
    let ring = Continuum::new(&buckets);
    bencher.bench(|| {
        let mut seen: Vec<SocketAddr> = Vec::with_capacity(usize::from(peers));
        for address in ring.node_iter(black_box(b"customer-42")) {
            if !seen.contains(address) {
                seen.push(*address);
            }
            if seen.len() == usize::from(peers) {
                break;
            }
        }
        seen
    });
}

const NETWORKS: u64 = 20_000;

/// A place taken and given back, as `proxy::slots` has it: exact counts under one lock.
#[divan::bench(threads = [1, 2])]
fn places_ours(bencher: Bencher<'_, '_>) {
    let taken: Mutex<HashMap<u64, usize>> = Mutex::default();
    (0..NETWORKS).for_each(|network| _ = taken.lock().insert(network, 1));
    bencher.bench(|| {
        let network = black_box(NETWORKS + 1);
        let count = {
            let mut taken = taken.lock();
            let count = taken.entry(network).or_default();
            *count += 1;
            *count
        };
        let mut taken = taken.lock();
        if let Some(count) = taken.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&network);
            }
        }
        count
    });
}

/// The same by pingora-limits: estimated counts without a lock.
#[divan::bench(threads = [1, 2])]
fn places_limits(bencher: Bencher<'_, '_>) {
    let taken = Inflight::new();
    let held: Vec<_> = (0..NETWORKS).map(|network| taken.incr(network, 1)).collect();
    bencher.bench(|| taken.incr(black_box(NETWORKS + 1), 1).1);
    drop(held);
}

/// How many of 20,000 networks with one connection each would be told that they have two or more.
fn told_as_crowded() {
    let taken = Inflight::new();
    let held: Vec<_> = (0..NETWORKS).map(|network| taken.incr(network, 1)).collect();
    let crowded = (0..NETWORKS).filter(|network| taken.incr(network, 0).1 > 1).count();
    println!("pingora-limits: {crowded} of {NETWORKS} networks with one connection each count as having more");
    drop(held);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
}

/// A wait that is over after one turn of the runtime, as most are.
#[divan::bench]
fn deadline_tokio(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    bencher.bench_local(|| {
        runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(60), tokio::task::yield_now()).await.is_ok() })
    });
}

/// The same by pingora-timeout.
#[divan::bench]
fn deadline_pingora(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    bencher.bench_local(|| {
        runtime.block_on(async {
            pingora_timeout::fast_timeout::fast_timeout(Duration::from_secs(60), tokio::task::yield_now()).await.is_ok()
        })
    });
}

/// The same as the gateway's waits have it: one timer for a connection, armed already, that is looked at and not moved.
#[divan::bench]
fn deadline_ours(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let mut alarm = runtime.block_on(async { Box::pin(tokio::time::sleep(Duration::from_secs(3600))) });
    bencher.bench_local(|| {
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => true,
                () = alarm.as_mut() => false,
            }
        })
    });
}
