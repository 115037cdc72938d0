//! Who a session belongs to.

use std::fmt;

/// The longest tenant, user or role, in characters.
const LONGEST: usize = 128;

/// Why a text cannot be an identity value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityValueError {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// Longer than 128 characters.
    #[error("is longer than {LONGEST} characters")]
    TooLong,
    /// A space, control character, comma or anything outside ASCII.
    #[error("has a character other than visible ASCII without comma")]
    Character,
}

fn check(text: &str) -> Result<(), IdentityValueError> {
    if text.is_empty() {
        return Err(IdentityValueError::Empty);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',') {
        return Err(IdentityValueError::Character);
    }
    if text.len() > LONGEST {
        return Err(IdentityValueError::TooLong);
    }
    Ok(())
}

macro_rules! identity_value {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 128 visible ASCII characters without comma, so that it is one header value in every backend's eyes.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Takes a text that came from outside.
            ///
            /// # Errors
            /// When it could be read as something else in a header.
            pub fn parse(text: &str) -> Result<Self, IdentityValueError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

identity_value! {
    /// A tenant: the customer's isolation boundary.
    TenantId
}
identity_value! {
    /// A user within a tenant.
    UserId
}
identity_value! {
    /// What a user may do.
    Role
}

/// The authenticated user, with tenant and role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The tenant the user belongs to.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The role, where the login named one.
    pub role: Option<Role>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_a_backend_could_split_or_misread_is_refused() {
        for (text, error) in [
            ("", IdentityValueError::Empty),
            ("a,b", IdentityValueError::Character),
            ("a b", IdentityValueError::Character),
            ("a\r\nX-Customer-ID: 1", IdentityValueError::Character),
            ("a\0", IdentityValueError::Character),
            ("ä", IdentityValueError::Character),
            ("\u{7f}", IdentityValueError::Character),
            (&"a".repeat(129), IdentityValueError::TooLong),
        ] {
            assert_eq!(TenantId::parse(text), Err(error), "{text:?}");
        }
        assert!(TenantId::parse(&"a".repeat(128)).is_ok());
        assert!(TenantId::parse("acme:eu}1!~").is_ok());
    }
}
