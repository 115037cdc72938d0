//! Lines of accepted heads that are to be read in another spelling than the client's: a target with characters that must
//! be percent-encoded, a length with zeros before it or said twice.

/// What is to be written in place of lines that were fed.
#[derive(Debug, Default)]
pub struct Repairs(Vec<Repair>);

#[derive(Debug)]
struct Repair {
    /// Where the line ended, in the bytes that were fed.
    end: usize,
    /// How long it was. It may have begun in bytes that were fed before.
    length: usize,
    /// What stands for it, line end included; nothing: the line goes.
    line: Vec<u8>,
}

impl Repairs {
    pub(super) const fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether all lines stay as they are.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, end: usize, length: usize, line: Vec<u8>) {
        self.0.push(Repair { end, length, line });
    }

    /// The bytes that were fed as they are to be read. `before` are those that were held back: all of the head whose
    /// end had not come.
    #[must_use]
    pub fn apply(self, before: &[u8], fed: &[u8]) -> Vec<u8> {
        let whole = [before, fed].concat();
        let mut repaired = Vec::with_capacity(whole.len());
        let mut copied = 0;
        for Repair { end, length, line } in self.0 {
            let end = before.len() + end;
            repaired.extend_from_slice(whole.get(copied..end.saturating_sub(length)).unwrap_or_default());
            repaired.extend_from_slice(&line);
            copied = end;
        }
        repaired.extend_from_slice(whole.get(copied..).unwrap_or_default());
        repaired
    }
}
