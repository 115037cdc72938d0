//! The name of a sealed cookie, and what an app's reader could take for it.
//!
//! An imitation that slipped through would be an unsealed cookie of somebody else's, so that this is the laxest reading
//! that is known: beyond [`CookieName::read`] Python's `SimpleCookie` begins a new cookie after white space, Werkzeug
//! before 2.3 takes escapes out of quoted names, Rack and PHP decode percent-escapes in them, and PHP reads `remember.token` as `remember_token`.

use std::borrow::Cow;

use crate::http::{CookieName, Piece, folded_name};

/// What a piece of a Cookie header is to the name of a sealed cookie.
pub(super) fn read<'a>(name: &CookieName, piece: &'a [u8]) -> Piece<'a> {
    match name.read(piece) {
        Piece::Other if is_folded(name, piece) || is_odd(piece) && is_imitated(name, piece) => Piece::Imitation,
        reading => reading,
    }
}

/// Whether it is one to PHP.
fn is_folded(name: &CookieName, piece: &[u8]) -> bool {
    let end = memchr::memchr(b'=', piece).unwrap_or(piece.len());
    let named = piece.get(..end).unwrap_or_default();
    name.as_str().contains('_') && folded_name(named).eq_ignore_ascii_case(name.as_str().as_bytes())
}

/// Whether some reader could see more in it than one pair of a plain name and a value.
fn is_odd(piece: &[u8]) -> bool {
    let piece = piece.strip_prefix(b" ").unwrap_or(piece);
    piece.iter().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'\\' | b'%'))
}

fn is_imitated(name: &CookieName, piece: &[u8]) -> bool {
    let parts = piece.split(|byte| !byte.is_ascii_graphic() || *byte == b',');
    parts.filter(|part| !part.is_empty()).any(|part| {
        let end = memchr::memchr(b'=', part).unwrap_or(part.len());
        let named = part.get(..end).unwrap_or_default();
        name.read(part) != Piece::Other || name.read(&plain(named)) != Piece::Other
    })
}

/// A name without its escapes: `\163` and `\s`, `%73`.
fn plain(name: &[u8]) -> Cow<'_, [u8]> {
    let name: Cow<'_, [u8]> = percent_encoding::percent_decode(name).into();
    if !name.contains(&b'\\') {
        return name;
    }
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = &*name;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        if *byte != b'\\' {
            plain.push(*byte);
        } else if let Some((octal, behind)) = octal(rest) {
            plain.push(octal);
            rest = behind;
        } else if let Some((escaped, behind)) = rest.split_first() {
            plain.push(*escaped);
            rest = behind;
        }
    }
    Cow::Owned(plain)
}

/// The byte of three octal digits, and what follows.
fn octal(text: &[u8]) -> Option<(u8, &[u8])> {
    let (digits, rest) = text.split_at_checked(3)?;
    let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()?;
    Some((byte, rest))
}
