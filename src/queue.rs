//! A bounded queue from many callers to one thread that writes.
//!
//! A caller never waits for the writer: what does not fit is refused, and the caller counts it. What a client can cause
//! at will has a part of the room, and never takes the rest. The writer takes all that waits at once, and pauses between
//! two batches, so that under load a caller pays for a lock and not for waking a thread.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Why an item was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The writer is too far behind.
    Full,
    /// The queue was closed.
    Closed,
}

/// How soon an item wants to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// With the next batch.
    Batched,
    /// At once: somebody waits for it.
    Now,
}

/// What may be refused first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It has all of the room.
    Own,
    /// It can be caused at will, and has a quarter of the room.
    Repeatable,
}

#[derive(Debug)]
struct State<T> {
    items: Vec<T>,
    weight: usize,
    /// How much of the weight is repeatable.
    repeatable: usize,
    /// How many items were ever taken in.
    pushed: u64,
    /// Somebody waits.
    urgent: bool,
    writer_idle: bool,
    closed: bool,
    finished: bool,
}

#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    arrived: Condvar,
    ended: Condvar,
    capacity: usize,
}

impl<T> Queue<T> {
    /// A queue that holds items of `capacity` weight together.
    pub(crate) const fn new(capacity: usize) -> Self {
        let state = State {
            items: Vec::new(),
            weight: 0,
            repeatable: 0,
            pushed: 0,
            urgent: false,
            writer_idle: false,
            closed: false,
            finished: false,
        };
        Self { state: Mutex::new(state), arrived: Condvar::new(), ended: Condvar::new(), capacity }
    }

    /// Adds an item, or says why not. Never waits for the writer.
    pub(crate) fn push(&self, item: T, weight: usize, urgency: Urgency) -> Result<(), Refused> {
        self.push_as(Class::Own, item, weight, urgency)
    }

    /// [`push`](Self::push) for an item of that class.
    pub(crate) fn push_as(&self, class: Class, item: T, weight: usize, urgency: Urgency) -> Result<(), Refused> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        let before = state.weight;
        let after = before.saturating_add(weight);
        if after > self.capacity {
            return Err(Refused::Full);
        }
        if class == Class::Repeatable {
            let repeatable = state.repeatable.saturating_add(weight);
            if repeatable > self.capacity / 4 {
                return Err(Refused::Full);
            }
            state.repeatable = repeatable;
        }
        state.items.push(item);
        state.weight = after;
        state.pushed += 1;
        state.urgent |= urgency == Urgency::Now;
        let half = self.capacity / 2;
        let wake = state.writer_idle || urgency == Urgency::Now || (before < half && after >= half);
        state.writer_idle = false;
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Moves all that waits into `into` (emptied first), waiting for a first item for at most `patience`. Answers whether
    /// the queue is still open; when it is not, this was the last batch.
    pub(crate) fn take(&self, into: &mut Vec<T>, patience: Duration) -> bool {
        self.take_counted(into, patience).0
    }

    /// [`take`](Self::take), with how many items were ever taken in up to these.
    pub(crate) fn take_counted(&self, into: &mut Vec<T>, patience: Duration) -> (bool, u64) {
        into.clear();
        let mut state = self.state.lock();
        if state.items.is_empty() && !state.closed {
            state.writer_idle = true;
            self.arrived.wait_for(&mut state, patience);
            state.writer_idle = false;
        }
        std::mem::swap(&mut state.items, into);
        state.weight = 0;
        state.repeatable = 0;
        state.urgent = false;
        (!state.closed, state.pushed)
    }

    /// Lets items gather for at most `pause`; ends early for an urgent one, a half-full queue, or the closing.
    pub(crate) fn gather(&self, pause: Duration) {
        let mut state = self.state.lock();
        if !state.closed && !state.urgent && state.weight < self.capacity / 2 {
            self.arrived.wait_for(&mut state, pause);
        }
    }

    /// Has the writer come at once for what waits; answers how many items were ever taken in.
    pub(crate) fn hurry(&self) -> u64 {
        let mut state = self.state.lock();
        let waits = !state.items.is_empty();
        state.urgent |= waits;
        state.writer_idle &= !waits;
        let pushed = state.pushed;
        drop(state);
        if waits {
            self.arrived.notify_one();
        }
        pushed
    }

    /// Waits for at most `pause`; ends early for the closing.
    pub(crate) fn hold(&self, pause: Duration) {
        let mut state = self.state.lock();
        if !state.closed {
            self.arrived.wait_for(&mut state, pause);
        }
    }

    /// Whether the queue was closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Takes no more items; the writer ends when it has written what waits.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_one();
    }

    /// Said by the writer as its last word.
    pub(crate) fn finish(&self) {
        self.state.lock().finished = true;
        self.ended.notify_all();
    }

    /// Waits until the writer has ended, for at most `within`. Answers whether it has.
    pub(crate) fn wait_finished(&self, within: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.finished {
            self.ended.wait_while_for(&mut state, |state| !state.finished, within);
        }
        state.finished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_and_fits_again_once_taken() {
        let queue = Queue::new(10);
        assert_eq!(queue.push('a', 6, Urgency::Batched), Ok(()));
        assert_eq!(queue.push('b', 6, Urgency::Batched), Err(Refused::Full));
        assert_eq!(queue.push('c', 4, Urgency::Batched), Ok(()));
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch, Duration::ZERO));
        assert_eq!(batch, ['a', 'c']);
        assert_eq!(queue.push('d', 10, Urgency::Batched), Ok(()));
    }

    #[test]
    fn what_can_be_caused_at_will_leaves_most_of_the_room_to_the_rest() {
        let queue = Queue::new(8);
        let taken = (0..8).filter(|_| queue.push_as(Class::Repeatable, 'a', 1, Urgency::Batched).is_ok()).count();
        assert_eq!(taken, 2);
        let taken = (0..8).filter(|_| queue.push('b', 1, Urgency::Batched).is_ok()).count();
        assert_eq!(taken, 6);
        let mut batch = Vec::new();
        queue.take(&mut batch, Duration::ZERO);
        assert_eq!(queue.push_as(Class::Repeatable, 'a', 1, Urgency::Batched), Ok(()));
    }

    #[test]
    fn an_item_that_somebody_waits_for_ends_the_pause_also_when_it_came_before() {
        let queue = Queue::new(10);
        queue.push('a', 1, Urgency::Now).expect("room");
        queue.gather(Duration::from_secs(3600));
        let mut batch = Vec::new();
        assert_eq!(queue.take_counted(&mut batch, Duration::ZERO), (true, 1));
        queue.push('b', 1, Urgency::Batched).expect("room");
        assert_eq!(queue.hurry(), 2);
        queue.gather(Duration::from_secs(3600));
    }

    #[test]
    fn a_closed_queue_gives_up_what_it_holds_and_takes_no_more() {
        let queue = Queue::new(10);
        queue.push('a', 1, Urgency::Batched).expect("room");
        queue.close();
        assert_eq!(queue.push('b', 1, Urgency::Batched), Err(Refused::Closed));
        let mut batch = Vec::new();
        assert!(!queue.take(&mut batch, Duration::from_secs(60)));
        assert_eq!(batch, ['a']);
        assert!(!queue.take(&mut batch, Duration::from_secs(60)));
        assert!(batch.is_empty());
    }

    #[test]
    fn a_waiting_writer_is_woken_by_the_first_item() {
        let queue = Queue::new(10);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut batch = Vec::new();
                while batch.is_empty() {
                    queue.take(&mut batch, Duration::from_secs(60));
                }
                queue.finish();
                batch
            });
            queue.push('a', 1, Urgency::Batched).expect("room");
            assert!(queue.wait_finished(Duration::from_secs(60)));
            assert_eq!(writer.join().expect("no panic"), ['a']);
        });
    }
}
