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
    /// Which of the backend's logins a user comes from, where users of several could have the same id: `admin`, say.
    UserKind
}
identity_value! {
    /// What a user may do.
    Role
}

/// A tenant: the customer's isolation boundary. Or [that of the users who have none](Self::none), who are kept apart from
/// all others in the same way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Box<str>);

impl TenantId {
    /// That of the users who have none.
    #[must_use]
    pub fn none() -> Self {
        Self(Box::default())
    }

    /// Takes a text that came from outside: 1 to 128 visible ASCII characters without comma, so that it is one header value
    /// in every backend's eyes.
    ///
    /// # Errors
    /// When it could be read as something else in a header.
    pub fn parse(text: &str) -> Result<Self, IdentityValueError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// Its name; `None` for [that of the users who have none](Self::none).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&*self.0)
    }

    /// As operators write and read it: its name, or a comma, which no name has.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.name().unwrap_or(",")
    }

    /// Reads what [`shown`](Self::shown) gave.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn parse_shown(text: &str) -> Result<Self, IdentityValueError> {
        if text == "," { Ok(Self::none()) } else { Self::parse(text) }
    }

    /// The text that stands for it in a store: its name, or nothing.
    #[must_use]
    pub fn kept(&self) -> &str {
        &self.0
    }

    /// Reads what [`kept`](Self::kept) gave.
    ///
    /// # Errors
    /// When it is nothing that was ever kept.
    pub fn parse_kept(text: &str) -> Result<Self, IdentityValueError> {
        if text.is_empty() { Ok(Self::none()) } else { Self::parse(text) }
    }
}

/// A user within a tenant, and of a kind where the backend has several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId {
    /// `id` or `kind,id`: no id has a comma, so that no two users have one text.
    kept: Box<str>,
}

impl UserId {
    /// Takes a text that came from outside, as [`TenantId::parse`] does. Of no kind.
    ///
    /// # Errors
    /// When it could be read as something else in a header.
    pub fn parse(text: &str) -> Result<Self, IdentityValueError> {
        check(text)?;
        Ok(Self { kept: text.into() })
    }

    /// The user of this kind who has the same id.
    #[must_use]
    pub fn of_kind(self, kind: Option<&UserKind>) -> Self {
        match kind {
            Some(kind) => Self { kept: format!("{kind},{}", self.as_str()).into() },
            None => Self { kept: self.as_str().into() },
        }
    }

    /// The id as the backend knows it, which users of another kind may have as well.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.kept.split_once(',').map_or(&*self.kept, |(_, id)| id)
    }

    /// The kind, if there are several.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.kept.split_once(',').map(|(kind, _)| kind)
    }

    /// The text that stands for this user alone in a store.
    #[must_use]
    pub fn kept(&self) -> &str {
        &self.kept
    }

    /// Reads what [`kept`](Self::kept) gave.
    ///
    /// # Errors
    /// When it is nothing that was ever kept.
    pub fn parse_kept(text: &str) -> Result<Self, IdentityValueError> {
        match text.split_once(',') {
            None => check(text)?,
            Some((kind, id)) => {
                check(kind)?;
                check(id)?;
            }
        }
        Ok(Self { kept: text.into() })
    }
}

/// The authenticated user, with tenant and role.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The tenant the user belongs to, if to any.
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

    #[test]
    fn a_user_of_a_kind_is_not_the_user_of_another_with_the_same_id_and_both_survive_the_store() {
        let admin = UserKind::parse("admin").expect("visible ASCII");
        let user = UserId::parse("1").expect("visible ASCII");
        let of_admin = user.clone().of_kind(Some(&admin));
        assert_ne!(user, of_admin);
        assert_eq!((of_admin.as_str(), of_admin.kind(), of_admin.kept()), ("1", Some("admin"), "admin,1"));
        assert_eq!((user.as_str(), user.kind(), user.kept()), ("1", None, "1"));
        assert_eq!(of_admin.clone().of_kind(None), user);
        for user in [user, of_admin] {
            assert_eq!(UserId::parse_kept(user.kept()), Ok(user));
        }
        for garbage in ["", ",", "admin,", ",1", "admin,1,2", "a b,1"] {
            assert!(UserId::parse_kept(garbage).is_err(), "{garbage:?}");
        }
        assert!(UserId::parse("admin,1").is_err(), "nobody writes a kind into an id");
    }

    #[test]
    fn users_without_a_tenant_have_one_that_nobody_can_name() {
        assert_eq!(TenantId::none().name(), None);
        assert_eq!(TenantId::parse_kept(TenantId::none().kept()), Ok(TenantId::none()));
        assert!(TenantId::parse("").is_err() && TenantId::parse(",").is_err());
        assert_eq!(TenantId::parse_shown(TenantId::none().shown()), Ok(TenantId::none()));
        let tenant = TenantId::parse("42").expect("visible ASCII");
        assert_eq!((tenant.name(), TenantId::parse_kept("42")), (Some("42"), Ok(tenant.clone())));
    }
}
