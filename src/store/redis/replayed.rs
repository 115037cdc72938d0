//! Of which slots a master of a cluster has what the journal has.
//!
//! Pure. A slot may come to a master without its keys (`CLUSTER SETSLOT … NODE` alone), which would revive who was shut out.
//! So it is asked about a slot that it got while it was open only once the journal's entries of that slot were applied to it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::slot::Slot;
use super::topology::Range;

/// What is known of one master.
#[derive(Default)]
pub(super) struct Replayed {
    /// Its slots by the layout.
    own: BTreeSet<Slot>,
    /// Those that another master has just said are here.
    said: BTreeSet<Slot>,
    /// Those of which the entries are being applied.
    doing: BTreeSet<Slot>,
    /// Those of which it has all. Whoever looks for many takes it as it is then.
    done: Arc<BTreeSet<Slot>>,
}

impl Replayed {
    /// Whether it has all of a slot.
    pub(super) fn has(&self, slot: Slot) -> bool {
        self.done.contains(&slot)
    }

    /// Those of which it has all now.
    pub(super) fn all(&self) -> Arc<BTreeSet<Slot>> {
        Arc::clone(&self.done)
    }

    /// These are its own by the layout from now on. Of any other it may have nothing when it gets it again, also of one that
    /// another master said is here and no layout ever gave it. Answers whether there is anything to be applied.
    pub(super) fn owns(&mut self, own: BTreeSet<Slot>) -> bool {
        self.doing.retain(|slot| own.contains(slot));
        Arc::make_mut(&mut self.done).retain(|slot| own.contains(slot));
        self.own = own;
        self.lacks_any()
    }

    /// Another master says that a slot is here. Answers the same.
    pub(super) fn gains(&mut self, slot: Slot) -> bool {
        if !self.done.contains(&slot) {
            self.said.insert(slot);
        }
        self.lacks_any()
    }

    fn lacks_any(&self) -> bool {
        self.own.union(&self.said).any(|slot| !self.done.contains(slot))
    }

    /// Those of which the entries are to be applied now. What was said is said again where that fails.
    pub(super) fn begin(&mut self) -> BTreeSet<Slot> {
        let said = std::mem::take(&mut self.said);
        self.doing = self.own.union(&said).filter(|slot| !self.done.contains(slot)).copied().collect();
        self.doing.clone()
    }

    /// They were applied. Of what it lost meanwhile they may be lost as well.
    pub(super) fn end(&mut self) {
        Arc::make_mut(&mut self.done).append(&mut self.doing);
    }
}

/// The slots of these ranges.
pub(super) fn slots(ranges: &[Range]) -> BTreeSet<Slot> {
    ranges.iter().flat_map(|(first, last)| *first..=*last).filter_map(Slot::numbered).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(number: u16) -> Slot {
        Slot::numbered(number).expect("a slot")
    }

    fn open() -> Replayed {
        let mut replayed = Replayed::default();
        assert!(replayed.owns(slots(&[(0, 2), (9, 9)])));
        assert!(!replayed.has(slot(0)), "nothing was applied yet");
        assert_eq!(replayed.begin(), slots(&[(0, 2), (9, 9)]));
        replayed.end();
        replayed
    }

    #[test]
    fn what_a_master_has_when_it_is_opened_it_keeps_as_others_come_and_go() {
        let mut replayed = open();
        assert!(replayed.has(slot(9)) && !replayed.has(slot(3)));
        assert!(!replayed.owns(slots(&[(0, 1), (9, 9)])), "one went");
        assert!(!replayed.has(slot(2)) && replayed.has(slot(1)));
        assert!(replayed.begin().is_empty());
    }

    #[test]
    fn a_slot_that_comes_is_not_there_until_its_entries_are() {
        let mut replayed = open();
        assert!(replayed.owns(slots(&[(0, 3), (9, 9)])));
        assert!(!replayed.has(slot(3)) && replayed.has(slot(0)));
        assert_eq!(replayed.begin(), slots(&[(3, 3)]));
        assert!(!replayed.has(slot(3)));
        replayed.end();
        assert!(replayed.has(slot(3)));
    }

    #[test]
    fn a_slot_that_went_and_came_back_is_a_new_one() {
        let mut replayed = open();
        replayed.owns(slots(&[(0, 2)]));
        assert!(replayed.owns(slots(&[(0, 2), (9, 9)])));
        // And once more while its entries are applied.
        assert_eq!(replayed.begin(), slots(&[(9, 9)]));
        replayed.owns(slots(&[(0, 2)]));
        assert!(replayed.owns(slots(&[(0, 2), (9, 9)])));
        replayed.end();
        assert!(!replayed.has(slot(9)));
        assert_eq!(replayed.begin(), slots(&[(9, 9)]));
    }

    #[test]
    fn what_another_says_is_here_comes_before_the_layout_says_so() {
        let mut replayed = open();
        assert!(replayed.gains(slot(7)) && !replayed.has(slot(7)));
        assert_eq!(replayed.begin(), slots(&[(7, 7)]));
        replayed.end();
        assert!(replayed.has(slot(7)) && !replayed.gains(slot(7)));
        assert!(!replayed.owns(slots(&[(0, 2), (7, 7), (9, 9)])));
        // It went on before any layout gave it.
        assert!(!replayed.owns(slots(&[(0, 2), (9, 9)])) && !replayed.has(slot(7)));
        assert!(replayed.gains(slot(7)), "and comes back without its keys");
        assert_eq!(replayed.begin(), slots(&[(7, 7)]));
        assert!(!replayed.owns(slots(&[(0, 2), (9, 9)])), "once more, while its entries are applied");
        replayed.end();
        assert!(!replayed.has(slot(7)));
        // What nobody says any more is not tried for ever.
        assert!(replayed.owns(slots(&[(0, 2), (7, 7), (9, 9)])));
        replayed.begin();
        replayed.end();
        assert!(replayed.gains(slot(5)));
        replayed.begin();
        assert!(!replayed.owns(slots(&[(0, 2), (7, 7), (9, 9)])));
    }
}
