//! What a master of a cluster says of itself, along with a beat: which slots it has, and which of those are about to go.
//!
//! Pure. A cache may go by it for what a majority cannot tell in time: a slot that moves is written to elsewhere before
//! anybody but its old and its new master need know.

use std::collections::BTreeSet;

use redis::Value;

use super::answers::{exactly, time};
use super::fault::{Fault, text, unexpected};
use super::slot::Slot;
use super::topology::Range;
use crate::session::StoreTime;

/// Which master it is, and what it has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OwnWord {
    /// The number of the election that gave it what it has last.
    pub(super) election: u64,
    /// What it has, in order.
    has: Vec<Range>,
    /// Those of which it is open whose they are.
    moving: BTreeSet<Slot>,
}

impl OwnWord {
    /// The slots that are its and stay so, as far as it knows.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        let all = self.has.iter().flat_map(|(first, last)| *first..=*last).filter_map(Slot::numbered);
        all.filter(|slot| !self.moving.contains(slot))
    }
}

/// The answer of [`BEAT_OF_MASTER`](super::scripts::BEAT_OF_MASTER): the time, and what it says of itself.
pub(super) fn own_word(answer: Value) -> Result<(StoreTime, OwnWord), Fault> {
    let Value::Array(parts) = answer else { return Err(unexpected("a beat", &answer)) };
    let [now, line] = exactly(parts)?;
    let line = String::from_utf8(text(line)?.unwrap_or_default()).map_err(|_| unclear())?;
    Ok((time(now)?, read(&line)?))
}

fn unclear() -> Fault {
    Fault::garbled("a master of the cluster does not say which slots it has")
}

/// Its line of `CLUSTER NODES`.
fn read(line: &str) -> Result<OwnWord, Fault> {
    let mut fields = line.trim_end().split(' ');
    let flags = fields.nth(2).ok_or_else(unclear)?;
    let is = |name: &str| flags.split(',').any(|flag| flag == name);
    if !is("myself") {
        return Err(unclear());
    }
    if !is("master") {
        return Err(Fault::Refused { code: String::from("READONLY"), text: String::new() });
    }
    let election = fields.nth(3).and_then(|epoch| epoch.parse().ok()).ok_or_else(unclear)?;
    let (mut has, mut moving) = (Vec::<Range>::new(), BTreeSet::new());
    // After the state of its link, which it has none of to itself.
    for field in fields.skip(1) {
        match field.strip_prefix('[') {
            // `[93-<-id]` comes, `[77->-id]` goes.
            Some(open) => drop(moving.insert(open.split('-').next().and_then(Slot::parse).ok_or_else(unclear)?)),
            None => {
                let (first, last) = field.split_once('-').unwrap_or((field, field));
                let (first, last) = (Slot::parse(first).ok_or_else(unclear)?, Slot::parse(last).ok_or_else(unclear)?);
                // Each once, so that there are no more than there are.
                if first > last || has.last().is_some_and(|(_, before)| *before >= first.number()) {
                    return Err(unclear());
                }
                has.push((first.number(), last.number()));
            }
        }
    }
    Ok(OwnWord { election, has, moving })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "07c37df 127.0.0.1:30001@31001,host.internal myself,master - 0 1426238317239 4 connected";

    fn slots(line: &str) -> Result<Vec<u16>, Fault> {
        Ok(read(line)?.slots().map(Slot::number).collect())
    }

    #[test]
    fn a_master_has_the_slots_that_it_says_but_for_those_that_are_on_their_way() {
        assert_eq!(slots(&format!("{HEAD} 0-3 7 9-10")), Ok(vec![0, 1, 2, 3, 7, 9, 10]));
        assert_eq!(slots(&format!("{HEAD} 0-3 [2->-0e95] [9-<-0e95]")), Ok(vec![0, 1, 3]));
        assert_eq!(slots(HEAD), Ok(vec![]));
        assert_eq!(read(HEAD).expect("it is whole").election, 4);
    }

    #[test]
    fn what_is_no_master_or_not_clear_is_refused() {
        let replica = read(&HEAD.replace("master", "slave"));
        assert!(matches!(replica, Err(Fault::Refused { code, .. }) if code == "READONLY"));
        for line in ["", "a b c", &HEAD.replace("myself,", ""), &HEAD.replace(" 4 ", " x ")] {
            assert!(read(line).is_err(), "{line}");
        }
        for slots in ["0-3 0-3", "5 0-3", "7 7", "3-0", "16384", "1-", "-1", "[x->-y]", "[", "1 2  3", "{1}"] {
            assert!(read(&format!("{HEAD} {slots}")).is_err(), "{slots}");
        }
    }
}
