//! What must hold for any bytes whatsoever, one property function a target. Each panics when it does not.
//!
//! `tests/fuzz_corpus.rs` replays the corpora through them and `scripts/fuzz` searches further, guided by coverage.
//! An oracle here is written another way than the code it judges, and as plainly as possible.

mod answer;
mod backend_answer;
mod codec;
mod config;
mod cookie;
mod framing;
mod headers;
mod jwks;
mod path;
mod proxy_header;
mod token;

/// A target's property.
pub type Check = fn(&[u8]);

/// Every target by its name, which is also its corpus folder's.
pub const ALL: [(&str, Check); 11] = [
    ("answer", answer::check),
    ("backend_answer", backend_answer::check),
    ("codec", codec::check),
    ("config", config::check),
    ("cookie", cookie::check),
    ("framing", framing::check),
    ("headers", headers::check),
    ("jwks", jwks::check),
    ("path", path::check),
    ("proxy_header", proxy_header::check),
    ("token", token::check),
];
