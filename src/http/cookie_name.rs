//! The name of a cookie that must be told from all that some reader could take for it.
//!
//! A Cookie header is split at every `;`, quotes mean nothing, and a name ends at the first `=`.

/// The name of a cookie that is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieName(Box<str>);

/// What a piece of a Cookie header is to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Exactly this name; the value.
    Own(&'a [u8]),
    /// Could be taken for it.
    Imitation,
    /// Another cookie.
    Other,
}

impl CookieName {
    /// A name that was checked where it was configured.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.0
    }

    /// What a piece of a Cookie header, or the first part of a Set-Cookie line, is to this name.
    #[must_use]
    pub fn read<'a>(&self, piece: &'a [u8]) -> Piece<'a> {
        let bare = piece.strip_prefix(b" ").unwrap_or(piece);
        if let Some(value) = bare.strip_prefix(self.0.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
            return Piece::Own(value);
        }
        if self.is_imitated_by(piece) { Piece::Imitation } else { Piece::Other }
    }

    /// Old readers end a cookie at a comma, too.
    fn is_behind_a_comma_of(&self, piece: &[u8]) -> bool {
        piece.split(|byte| *byte == b',').any(|part| self.is_imitated_by(part))
    }

    /// Whether some reader could take the piece for this cookie: in any case, in quotes, without a name
    /// (`=__Host-session=v` is stored under no name and comes back as `__Host-session=v`), or with white space or
    /// other bytes around the name that a `strip()` or a wrong decoding takes away.
    fn is_imitated_by(&self, piece: &[u8]) -> bool {
        if piece.len() < self.0.len() {
            return false;
        }
        if memchr::memchr(b',', piece).is_some() {
            return self.is_behind_a_comma_of(piece);
        }
        let is_noise = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'' | b'\\' | b'=' | b',');
        let start = piece.iter().position(|byte| !is_noise(byte)).unwrap_or(piece.len());
        let core = piece.get(start..).unwrap_or_default();
        let name = core.split(|byte| *byte == b'=').next().unwrap_or_default();
        let end = name.iter().rposition(|byte| !is_noise(byte)).map_or(0, |last| last + 1);
        name.get(..end).unwrap_or_default().eq_ignore_ascii_case(self.0.as_bytes())
    }
}

/// A line's pieces between semicolons.
pub fn pieces(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut left = Some(line);
    std::iter::from_fn(move || {
        let text = left?;
        let (piece, rest) = match memchr::memchr(b';', text).and_then(|end| text.split_at_checked(end)) {
            Some((piece, rest)) => (piece, rest.get(1..)),
            None => (text, None),
        };
        left = rest;
        Some(piece)
    })
}
