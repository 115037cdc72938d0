//! Published vectors, the rows of RFC 8725, and an attacker's table.

mod attacks;
mod maker;
mod rfc8725;
mod wycheproof;
