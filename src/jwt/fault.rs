//! Why a token is not believed.

/// Why a token is not believed. Holds nothing of the token, so that it can be told to log and audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenFault {
    /// It is longer than any token that is looked at.
    TooLong,
    /// It has not exactly three parts.
    Shape,
    /// A part is no base64url, is padded, or has bits beyond its bytes.
    Encoding,
    /// Header or claims are no JSON object.
    Json,
    /// A name stands twice.
    DuplicateName,
    /// Its algorithm is not one of the issuer's, or not that of the key.
    Algorithm,
    /// The header asks for an extension that nobody here knows, or brings a key of its own.
    Header,
    /// `typ` is none of the issuer's types.
    Type,
    /// It is of no configured issuer.
    Issuer,
    /// No key of the issuer has this name.
    UnknownKey,
    /// It names no key, and too many would have to be tried.
    TooManyKeys,
    /// The signature is not the key's.
    Signature,
    /// A claim that is needed is missing or of another type.
    Claim,
    /// It is over.
    Expired,
    /// It is not good yet, or was made in the future.
    NotYet,
    /// It lives longer than tokens may.
    Lifetime,
    /// It is meant for somebody else.
    Audience,
    /// It is a refresh token, which is for its issuer alone.
    Refresh,
    /// Its claims name no tenant or user that can stand in a header.
    Identity,
}

impl TokenFault {
    /// Every fault.
    pub const ALL: [Self; 19] = [
        Self::TooLong,
        Self::Shape,
        Self::Encoding,
        Self::Json,
        Self::DuplicateName,
        Self::Algorithm,
        Self::Header,
        Self::Type,
        Self::Issuer,
        Self::UnknownKey,
        Self::TooManyKeys,
        Self::Signature,
        Self::Claim,
        Self::Expired,
        Self::NotYet,
        Self::Lifetime,
        Self::Audience,
        Self::Refresh,
        Self::Identity,
    ];

    /// The name in log and audit.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Shape => "shape",
            Self::Encoding => "encoding",
            Self::Json => "json",
            Self::DuplicateName => "duplicate_name",
            Self::Algorithm => "algorithm",
            Self::Header => "header",
            Self::Type => "type",
            Self::Issuer => "issuer",
            Self::UnknownKey => "unknown_key",
            Self::TooManyKeys => "too_many_keys",
            Self::Signature => "signature",
            Self::Claim => "claim",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Lifetime => "lifetime",
            Self::Audience => "audience",
            Self::Refresh => "refresh_token",
            Self::Identity => "identity",
        }
    }
}
