//! The room that bodies take in files: so much in all, a share of it for each client, and when it is full, the body that
//! comes in most slowly goes first. Whoever holds much and sends little must not cost everybody else their uploads.
//!
//! It counts; it never touches a file. What has to go is told, and lets go of its file at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::error::BodyError;
use crate::network::Network;

/// In which amounts room is set aside.
const UNIT: u64 = 4 * 1024;
/// One client's bodies take at most this part of the room, unless a single body may be larger.
const CLIENTS: u64 = 4;
/// How fast a body comes in is judged by what came within the last one or two of these.
const SPAN: Duration = Duration::from_secs(15);

/// The room for all files of a spool.
#[derive(Debug)]
pub(super) struct Room {
    total: u64,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: u64,
    by_client: HashMap<Network, u64>,
    /// What is still coming in, by number.
    arriving: HashMap<u64, Upload>,
    next: u64,
}

#[derive(Debug)]
struct Upload {
    client: Network,
    taken: u64,
    pace: Pace,
    notice: Arc<Notice>,
}

/// What one body takes of the room, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    client: Network,
    number: u64,
    /// Bytes of the body.
    length: u64,
    /// The most that all bodies of its client may take.
    share: u64,
    notice: Arc<Notice>,
    /// What it takes once it is whole; while it comes in, the room knows.
    kept: Option<u64>,
}

/// Whether a body has to go.
#[derive(Debug, Default)]
struct Notice {
    given: AtomicBool,
    waker: AtomicWaker,
}

impl Room {
    pub(super) fn new(total: u64) -> Self {
        Self { total, taken: Mutex::default() }
    }

    /// Begins to count a body of a client whose bodies may each have `max_body` bytes.
    pub(super) fn begin(self: &Arc<Self>, client: Network, max_body: u64) -> Place {
        let share = (self.total / CLIENTS).max(max_body.saturating_add(UNIT)).min(self.total);
        let notice = Arc::<Notice>::default();
        let mut taken = self.taken.lock();
        let number = taken.next;
        taken.next += 1;
        let upload = Upload { client, taken: 0, pace: Pace::begin(Instant::now()), notice: Arc::clone(&notice) };
        taken.arriving.insert(number, upload);
        drop(taken);
        Place { room: Arc::clone(self), client, number, length: 0, share, notice, kept: None }
    }
}

impl Taken {
    fn grow(&mut self, number: u64, more: u64, total: u64, share: u64) -> Result<(), BodyError> {
        let now = Instant::now();
        let upload = self.arriving.get_mut(&number).ok_or(BodyError::NoRoom)?;
        upload.pace.add(more, now);
        let client = upload.client;
        if self.by_client.get(&client).copied().unwrap_or_default() + more > share {
            return Err(BodyError::NoRoom);
        }
        while self.in_all + more > total {
            let slowest = self.arriving.iter().min_by_key(|(_, upload)| upload.pace.rate(now));
            let slowest = slowest.map(|(slowest, _)| *slowest).filter(|slowest| *slowest != number);
            let victim = slowest.and_then(|slowest| self.arriving.remove(&slowest)).ok_or(BodyError::NoRoom)?;
            self.give_back(victim.client, victim.taken);
            victim.notice.give();
        }
        self.in_all += more;
        *self.by_client.entry(client).or_default() += more;
        if let Some(upload) = self.arriving.get_mut(&number) {
            upload.taken += more;
        }
        Ok(())
    }

    fn give_back(&mut self, client: Network, bytes: u64) {
        self.in_all = self.in_all.saturating_sub(bytes);
        if let Some(of_client) = self.by_client.get_mut(&client) {
            *of_client = of_client.saturating_sub(bytes);
            if *of_client == 0 {
                self.by_client.remove(&client);
            }
        }
    }
}

impl Place {
    /// Sets room aside for so many more bytes.
    ///
    /// # Errors
    /// [`BodyError::NoRoom`] when there is none, or when this one has to go.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), BodyError> {
        let length = self.length + more as u64;
        let units = length.div_ceil(UNIT) - self.length.div_ceil(UNIT);
        if units > 0 {
            self.room.taken.lock().grow(self.number, units * UNIT, self.room.total, self.share)?;
        }
        self.length = length;
        Ok(())
    }

    /// Bytes of the body so far.
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    /// Ready when this one has to go.
    pub(super) fn poll_notice(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.notice.given.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.notice.waker.register(context.waker());
        if self.notice.given.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The body is whole. What the backend waits for does not go.
    ///
    /// # Errors
    /// [`BodyError::NoRoom`] when it had to go before.
    pub(super) fn settle(&mut self) -> Result<(), BodyError> {
        let upload = self.room.taken.lock().arriving.remove(&self.number).ok_or(BodyError::NoRoom)?;
        self.kept = Some(upload.taken);
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken.lock();
        let bytes = self.kept.or_else(|| taken.arriving.remove(&self.number).map(|upload| upload.taken));
        if let Some(bytes) = bytes {
            taken.give_back(self.client, bytes);
        }
    }
}

impl Notice {
    fn give(&self) {
        self.given.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// How fast a body comes in.
#[derive(Clone, Copy, Debug)]
struct Pace {
    began: Instant,
    /// The beginning of the present span.
    since: Instant,
    in_span: u64,
    in_span_before: u64,
}

impl Pace {
    const fn begin(now: Instant) -> Self {
        Self { began: now, since: now, in_span: 0, in_span_before: 0 }
    }

    fn add(&mut self, bytes: u64, now: Instant) {
        self.move_on(now);
        self.in_span += bytes;
    }

    fn move_on(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed < SPAN {
            return;
        }
        self.in_span_before = if passed < 2 * SPAN { self.in_span } else { 0 };
        self.in_span = 0;
        self.since = if passed < 2 * SPAN { self.since + SPAN } else { now };
    }

    /// Bytes a second.
    fn rate(mut self, now: Instant) -> u64 {
        self.move_on(now);
        let of_spans = SPAN + now.saturating_duration_since(self.since);
        let over = of_spans.min(now.saturating_duration_since(self.began)).as_secs().max(1);
        (self.in_span + self.in_span_before) / over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: [u8; 4] = [127, 0, 0, 1];
    const YOURS: [u8; 4] = [192, 0, 2, 1];
    const KIB: usize = 1024;

    fn network(address: [u8; 4]) -> Network {
        Network::from(std::net::IpAddr::from(address))
    }

    fn has_to_go(place: &Place) -> bool {
        place.poll_notice(&mut Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[tokio::test(start_paused = true)]
    async fn when_it_is_full_the_slowest_goes_and_no_other() {
        let room = Arc::new(Room::new(1000 * KIB as u64));
        let mut slow = room.begin(network(MINE), u64::MAX);
        slow.grow(500 * KIB).unwrap();
        let mut steady = room.begin(network(YOURS), u64::MAX);
        for _ in 0..30 {
            tokio::time::advance(Duration::from_secs(1)).await;
            steady.grow(8 * KIB).unwrap();
            slow.grow(1).unwrap();
        }
        let mut quick = room.begin(network(MINE), u64::MAX);
        quick.grow(300 * KIB).unwrap();
        assert!(has_to_go(&slow) && !has_to_go(&steady) && !has_to_go(&quick));
        assert!(matches!(slow.grow(4 * KIB), Err(BodyError::NoRoom)));
        assert!(slow.settle().is_err());
        // What it took was given to others already.
        drop(slow);
        quick.grow(300 * KIB).unwrap();
        assert!(quick.grow(300 * KIB).is_ok(), "the steady one is the slower one");
        assert!(has_to_go(&steady));
        // Whoever is the slowest itself is refused.
        let mut another = room.begin(network(YOURS), u64::MAX);
        assert!(another.grow(200 * KIB).is_err());
        drop((quick, another, steady));
        let taken = room.taken.lock();
        assert_eq!((taken.in_all, taken.by_client.len()), (0, 0));
    }

    #[tokio::test]
    async fn what_is_whole_stays_and_a_client_has_its_share() {
        let room = Arc::new(Room::new(1000 * KIB as u64));
        let place = |client, length| {
            let mut place = room.begin(network(client), 100 * KIB as u64);
            place.grow(length).and_then(|()| place.settle()).map(|()| place)
        };
        let whole = [place(MINE, 100 * KIB).unwrap(), place(MINE, 100 * KIB).unwrap()];
        assert!(place(MINE, 100 * KIB).is_err(), "a quarter is 250");
        assert!(place(YOURS, 100 * KIB).is_ok());
        let mut large = room.begin(network(YOURS), 900 * KIB as u64);
        assert!(large.grow(900 * KIB).is_err(), "what is whole is not sent away");
        assert!(whole.iter().all(|place| !has_to_go(place)));
        drop(whole);
        large.grow(900 * KIB).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pace_is_that_of_the_last_moments() {
        let mut pace = Pace::begin(Instant::now());
        pace.add(15_000_000, Instant::now());
        assert_eq!(pace.rate(Instant::now()), 15_000_000);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(pace.rate(Instant::now()), 1_500_000);
        tokio::time::advance(2 * SPAN).await;
        assert_eq!(pace.rate(Instant::now()), 0, "what came long ago was quick, and is no pace");
    }
}
