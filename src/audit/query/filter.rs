//! Which events are looked for, and whether a line is one of them.

use memchr::memmem;

use super::super::event::AuditType;
use super::super::record::AuditRecord;
use crate::clock::{WallTime, rfc3339};
use crate::json_line::quoted;
use crate::session::{TenantId, UserId, UserKind};

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// At this time or later.
    pub since: Option<WallTime>,
    /// Before this time.
    pub until: Option<WallTime>,
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Of the user with this id, and of the kind below: of none, if there is none.
    pub user: Option<UserId>,
    /// Of users of this kind.
    pub user_kind: Option<UserKind>,
    /// Of this type.
    pub kind: Option<AuditType>,
}

/// A filter made ready: most lines are turned down without being parsed.
pub(super) struct Matcher {
    since: Option<String>,
    until: Option<String>,
    /// The two before, for whole files.
    pub(super) since_micros: Option<u64>,
    pub(super) until_micros: Option<u64>,
    /// Field, value, and both as they stand in a line.
    fields: Vec<(Field, String, memmem::Finder<'static>)>,
    /// Whether only users of no kind are meant.
    without_kind: bool,
}

#[derive(Clone, Copy)]
enum Field {
    Tenant,
    NoTenant,
    User,
    UserKind,
    Kind,
}

impl Matcher {
    pub(super) fn new(filter: &AuditFilter) -> Self {
        let field = |field: Field, name: &str, value: &str| {
            let mut text = format!("\"{name}\":").into_bytes();
            quoted(&mut text, value);
            (field, value.to_owned(), memmem::Finder::new(&text).into_owned())
        };
        let mut fields = Vec::new();
        // Lines about those without a tenant have `null` there.
        fields.extend(filter.tenant.as_ref().map(|tenant| match tenant.name() {
            Some(name) => field(Field::Tenant, "tenant", name),
            None => (Field::NoTenant, String::new(), memmem::Finder::new(b"\"tenant\":null").into_owned()),
        }));
        fields.extend(filter.user.as_ref().map(|user| field(Field::User, "user", user.as_str())));
        fields.extend(filter.user_kind.as_ref().map(|kind| field(Field::UserKind, "kind", kind.as_str())));
        fields.extend(filter.kind.map(|kind| field(Field::Kind, "type", kind.as_str())));
        let text = |time: Option<WallTime>| time.map(|time| rfc3339(time.as_micros()));
        let micros = |time: Option<WallTime>| time.map(WallTime::as_micros);
        Self {
            since: text(filter.since),
            until: text(filter.until),
            since_micros: micros(filter.since),
            until_micros: micros(filter.until),
            fields,
            without_kind: filter.user.is_some() && filter.user_kind.is_none(),
        }
    }

    /// The event of a line, if it is one of those that are looked for.
    pub(super) fn read(&self, line: &[u8]) -> Option<AuditRecord> {
        if self.fields.iter().any(|(_, _, finder)| finder.find(line).is_none()) {
            return None;
        }
        let record = AuditRecord::read(line)?;
        // All times are written alike: their order is that of their texts.
        let in_time = self.since.as_ref().is_none_or(|since| *since <= record.time)
            && self.until.as_ref().is_none_or(|until| record.time < *until);
        let matches = self.fields.iter().all(|(field, value, _)| match field {
            Field::Tenant => record.tenant.as_ref() == Some(value),
            Field::NoTenant => record.tenant.is_none() && record.user.is_some(),
            Field::User => record.user.as_ref() == Some(value),
            Field::UserKind => record.user_kind() == Some(value),
            Field::Kind => record.kind == *value,
        });
        let is_meant = !self.without_kind || record.user_kind().is_none();
        (in_time && matches && is_meant).then_some(record)
    }
}
