//! What the gateways keep their sessions in, and what can go wrong with it. Another topology is another of these.

use std::fmt::Display;
use std::time::Duration;

use crate::dice::Dice;

/// The servers of the store, and the networks between them and to each gateway.
pub trait Stage {
    /// What can be broken.
    type Fault: Copy + std::fmt::Debug;

    /// `[store]` of another gateway, which has networks of its own to all servers.
    fn store_of_another_gateway(&mut self) -> String;

    /// What is broken next; of that after which another server is the master, where nothing else is wanted.
    fn next_fault(&mut self, dice: &mut Dice, elects: bool) -> Self::Fault;

    /// Breaks it; says what that is just now. `gateway` is one that may be concerned.
    async fn break_it(&mut self, fault: Self::Fault, gateway: usize, dice: &mut Dice) -> String;

    /// For how long that stays so.
    fn lasts(&self, fault: Self::Fault, dice: &mut Dice) -> Duration;

    /// Mends all that is broken.
    async fn mend(&mut self);

    /// Waits until all parts work together again, at most so long; whether they do.
    async fn whole(&mut self, limit: Duration, dice: &mut Dice) -> bool;
}

/// `[store]` of a gateway at that URL, which reaches each server otherwise than it is called.
pub fn store_of(url: &str, addresses: impl IntoIterator<Item = (impl Display, impl Display)>) -> String {
    let addresses: Vec<String> =
        addresses.into_iter().map(|(called, reached)| format!("\"{called}\" = \"{reached}\"")).collect();
    format!("redis = \"{url}\"\naddresses = {{ {} }}", addresses.join(", "))
}

/// The next of those that are left of a deck, or of all of them when none is.
pub fn next_of<F: Copy>(deck: &mut Vec<F>, all: &[F], dice: &mut Dice) -> F {
    if deck.is_empty() {
        *deck = all.to_vec();
    }
    deck.swap_remove(dice.below(deck.len()))
}
