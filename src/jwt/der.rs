//! Public keys in PEM, of the kind `PUBLIC KEY` (RFC 7468; RFC 5280 section 4.1.2.7, RFC 5480, RFC 8410).

use rustls::pki_types::pem::{self, SectionKind};

use super::key::{Key, KeyFault, Material};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// rsaEncryption, with its NULL.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
/// id-ecPublicKey on secp256r1.
const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// id-ecPublicKey on secp384r1.
const P384: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22";
/// id-Ed25519.
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

impl Key {
    /// Reads the one public key of a PEM file.
    ///
    /// # Errors
    /// When there is none, another than one, or one that cannot be used.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyFault> {
        let mut rest = text;
        let mut found = None;
        while let Some((kind, der)) = pem::from_buf(&mut rest).map_err(|_| KeyFault::Unreadable)? {
            let key = match kind {
                SectionKind::PublicKey => public_key(&der),
                SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                    return Err(KeyFault::Private);
                }
                _ => Err(KeyFault::Unreadable),
            };
            if found.replace(key?).is_some() {
                return Err(KeyFault::Unreadable);
            }
        }
        found.ok_or(KeyFault::Unreadable)
    }
}

/// A `SubjectPublicKeyInfo`.
fn public_key(der: &[u8]) -> Result<Key, KeyFault> {
    let mut info = whole(der, SEQUENCE)?;
    let algorithm = take(&mut info, SEQUENCE)?;
    let Some((0, key)) = whole(info, BIT_STRING)?.split_first() else { return Err(KeyFault::Unreadable) };
    let is_point = |bytes: usize| key.len() == 2 * bytes + 1 && key.first() == Some(&4);
    match algorithm {
        RSA => rsa_public_key(key),
        P256 if is_point(32) => Ok(Key::of(Material::P256(key.into()))),
        P384 if is_point(48) => Ok(Key::of(Material::P384(key.into()))),
        ED25519 => Ok(Key::of(Material::Ed25519(key.try_into().map_err(|_| KeyFault::Unreadable)?))),
        _ => Err(KeyFault::Unreadable),
    }
}

/// An `RSAPublicKey`.
fn rsa_public_key(der: &[u8]) -> Result<Key, KeyFault> {
    let mut numbers = whole(der, SEQUENCE)?;
    let n = take(&mut numbers, INTEGER)?;
    Key::rsa(n, whole(numbers, INTEGER)?)
}

/// What an element of this tag holds, with nothing behind it.
fn whole(mut der: &[u8], tag: u8) -> Result<&[u8], KeyFault> {
    let content = take(&mut der, tag)?;
    if der.is_empty() { Ok(content) } else { Err(KeyFault::Unreadable) }
}

/// What the next element holds, which has this tag. Lengths of up to two bytes: no key is longer.
fn take<'a>(der: &mut &'a [u8], tag: u8) -> Result<&'a [u8], KeyFault> {
    let (length, rest) = match *der {
        [found, length @ 0..=0x7f, rest @ ..] if *found == tag => (usize::from(*length), rest),
        [found, 0x81, length @ 0x80..=0xff, rest @ ..] if *found == tag => (usize::from(*length), rest),
        [found, 0x82, high @ 1..=0xff, low, rest @ ..] if *found == tag => {
            (usize::from(*high) << 8 | usize::from(*low), rest)
        }
        _ => return Err(KeyFault::Unreadable),
    };
    let (content, behind) = rest.split_at_checked(length).ok_or(KeyFault::Unreadable)?;
    *der = behind;
    Ok(content)
}
