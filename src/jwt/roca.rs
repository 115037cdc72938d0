//! The fingerprint of RSA keys whose private part can be computed (ROCA, CVE-2017-15361; Nemec and others, 2017).
//!
//! The faulty library chose primes of the form k·M + (65537^a mod M), M the product of the first primes. So modulo each of
//! these the modulus is a power of 65537, which of a sound key is true of all of them with a chance of about 2^-154.

const GENERATOR: u32 = 65_537;
const PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// Whether a modulus, in big-endian bytes, has it.
pub(super) fn has_its_fingerprint(modulus: &[u8]) -> bool {
    PRIMES.into_iter().all(|prime| {
        let rest = modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        is_power(rest, prime)
    })
}

/// Whether a number is a power of the generator modulo a prime.
fn is_power(number: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 0..prime {
        if power == number {
            return true;
        }
        power = power * GENERATOR % prime;
    }
    false
}
