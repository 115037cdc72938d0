//! Query parameters that hold a tenant (`identity.query`): overwritten, set, dropped or compared.
//!
//! Everything else in the query stays byte for byte. A parameter is found by its decoded name, between `&`, and between
//! `;` too, because older backends split there. One that only some backends read as it (`customer.id`, `customer_id[]`) is
//! compared as it is, and never left in where another value is to stand.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::http::folded_name;
use crate::session::TenantId;

/// What is written with escapes in a name that is added.
const NOT_IN_A_NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-').remove(b'.').remove(b'~');

/// What happens to a query parameter that holds a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryRule {
    /// The session's tenant takes its place.
    Overwrite,
    /// The same, and where it is missing it is added.
    Set,
    /// It is removed.
    Drop,
    /// A value that is not the session's tenant is refused.
    Match,
}

/// The parameters that hold a tenant, by decoded name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryRules(Vec<(String, QueryRule)>);

impl QueryRules {
    /// The rules, each for one parameter.
    #[must_use]
    pub fn new(rules: Vec<(String, QueryRule)>) -> Self {
        Self(rules)
    }

    /// The rule for a parameter, and whether it has exactly the name that was configured.
    fn rule(&self, name: &[u8]) -> Option<(&str, QueryRule, bool)> {
        let name: Vec<u8> = name.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        let name: Vec<u8> = percent_decode(&name).collect();
        let exact = self.0.iter().find(|(known, _)| known.as_bytes() == name);
        let rule = exact.or_else(|| {
            let folded = folded_name(&name);
            self.0.iter().find(|(known, _)| known.as_bytes() == &*folded)
        });
        rule.map(|(known, rule)| (&**known, *rule, exact.is_some()))
    }

    /// Whether a query that is not there may have to be made.
    #[must_use]
    pub fn add(&self) -> bool {
        self.0.iter().any(|(_, rule)| *rule == QueryRule::Set)
    }
}

/// A claim in the query that is not the session's tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForeignClaim;

/// What the parameters that hold a tenant say, decoded.
pub fn claimed_tenants<'a>(query: &'a str, rules: &'a QueryRules) -> impl Iterator<Item = Vec<u8>> + 'a {
    let pairs = query.split(['&', ';']).map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.filter(|(name, _)| rules.rule(name.as_bytes()).is_some()).map(|(_, value)| decoded_bytes(value))
}

fn decoded(value: &str) -> String {
    String::from_utf8_lossy(&decoded_bytes(value)).into_owned()
}

fn decoded_bytes(value: &str) -> Vec<u8> {
    percent_decode(value.replace('+', " ").as_bytes()).collect()
}

/// The query as the backend is to see it. Without a tenant (nobody is logged in) every such parameter is removed.
/// `None` when nothing changes.
///
/// # Errors
/// When a parameter under [`QueryRule::Match`] names another tenant. `same_tenant` compares a decoded claim.
pub fn rewrite_query(
    query: &str,
    rules: &QueryRules,
    tenant: Option<&TenantId>,
    same_tenant: impl Fn(&str, &TenantId) -> bool,
) -> Result<Option<String>, ForeignClaim> {
    if rules.0.is_empty() {
        return Ok(None);
    }
    let mut kept = String::with_capacity(query.len());
    let (mut overwritten, mut set) = (Vec::new(), Vec::new());
    let mut changed = false;
    // Who has none names none.
    let own = tenant.and_then(TenantId::name);
    for piece in query.split_inclusive(['&', ';']) {
        let (pair, separator) = match piece.strip_suffix(['&', ';']) {
            Some(pair) => (pair, &piece[pair.len()..]),
            None => (piece, ""),
        };
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (rules.rule(name.as_bytes()), tenant, own) {
            (None, ..) => kept.push_str(piece),
            (Some((_, QueryRule::Match, _)), Some(tenant), _) => {
                if !same_tenant(&decoded(value), tenant) {
                    return Err(ForeignClaim);
                }
                kept.push_str(piece);
            }
            // Once: a second one could be the one that the backend believes.
            (Some((known, QueryRule::Overwrite | QueryRule::Set, true)), _, Some(own))
                if !overwritten.contains(&name) =>
            {
                changed = true;
                overwritten.push(name);
                set.push(known);
                push(&mut kept, name, own);
                kept.push_str(separator);
            }
            (Some(_), ..) => changed = true,
        }
    }
    // A removed last parameter leaves its separator behind.
    let trimmed = kept.trim_end_matches(['&', ';']).len();
    if changed && !query.ends_with(['&', ';']) {
        kept.truncate(trimmed);
    }
    let missing = rules.0.iter().filter(|(name, rule)| *rule == QueryRule::Set && !set.contains(&&**name));
    for ((name, _), own) in missing.filter_map(|rule| Some((rule, own?))) {
        changed = true;
        if !kept.is_empty() && !kept.ends_with('&') {
            kept.push('&');
        }
        let name: String = utf8_percent_encode(name, NOT_IN_A_NAME).collect();
        push(&mut kept, &name, own);
    }
    Ok(changed.then_some(kept))
}

fn push(query: &mut String, name: &str, tenant: &str) {
    query.push_str(name);
    query.push('=');
    query.extend(utf8_percent_encode(tenant, NON_ALPHANUMERIC));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(query: &str, rule: QueryRule, tenant: Option<&str>) -> Result<Option<String>, ForeignClaim> {
        let rules = QueryRules::new(vec![("customer_id".into(), rule)]);
        let tenant = tenant.map(|tenant| TenantId::parse(tenant).expect("a tenant"));
        rewrite_query(query, &rules, tenant.as_ref(), |claim, tenant| Some(claim) == tenant.name())
    }

    #[test]
    fn a_tenant_in_the_query_is_the_sessions_or_gone() {
        use QueryRule::{Drop, Overwrite};
        for (query, rule, tenant, expected) in [
            ("a=1&customer_id=2&b=%20", Overwrite, Some("42"), Some("a=1&customer_id=42&b=%20")),
            ("customer_id=2&customer_id=3", Overwrite, Some("42"), Some("customer_id=42")),
            ("customer%5Fid=2", Overwrite, Some("42"), Some("customer%5Fid=42")),
            ("a=1;customer_id=2", Overwrite, Some("42"), Some("a=1;customer_id=42")),
            ("customer_id", Overwrite, Some("4 2".replace(' ', "+").as_str()), Some("customer_id=4%2B2")),
            ("customer_id=2", Overwrite, None, Some("")),
            ("a=1&customer_id=2", Drop, Some("42"), Some("a=1")),
            ("customer_id=2&a=1", Drop, Some("42"), Some("a=1")),
            ("a=1&b=%zz&&", Drop, Some("42"), None),
            ("Customer_id=2", Drop, Some("42"), None),
        ] {
            assert_eq!(rewritten(query, rule, tenant), Ok(expected.map(String::from)), "{query}");
        }
    }

    #[test]
    fn what_only_some_backends_read_as_the_parameter_is_never_another_tenants() {
        use QueryRule::{Drop, Match, Overwrite, Set};
        for name in [
            "customer_id[]",
            "customer_id%5B%5D",
            "customer_id[0]",
            "customer.id",
            "customer+id",
            "%20customer_id",
            "customer[id",
            "customer_id%00x",
            "[customer_id]",
            "customer%2Eid",
        ] {
            let foreign = format!("a=1&{name}=77&b=2");
            for (rule, expected) in [
                (Drop, Ok(Some("a=1&b=2"))),
                (Overwrite, Ok(Some("a=1&b=2"))),
                (Set, Ok(Some("a=1&b=2&customer_id=42"))),
                (Match, Err(ForeignClaim)),
            ] {
                let expected = expected.map(|query| query.map(String::from));
                assert_eq!(rewritten(&foreign, rule, Some("42")), expected, "{foreign} {rule:?}");
            }
            assert_eq!(rewritten(&format!("{name}=42"), Match, Some("42")), Ok(None), "{name}");
            assert_eq!(rewritten(&foreign, Drop, None), Ok(Some("a=1&b=2".into())), "{name}");
            let rules = QueryRules::new(vec![("customer_id".into(), Match)]);
            assert_eq!(claimed_tenants(&foreign, &rules).collect::<Vec<_>>(), [b"77"], "{name}");
        }
        for other in ["customer_ids=77", "customer-id=77", "old_customer_id=77", "x[customer_id]=77", "customeridx=77"]
        {
            assert_eq!(rewritten(other, Drop, Some("42")), Ok(None), "{other}");
        }
    }

    #[test]
    fn a_tenant_that_is_to_be_set_is_there_whatever_the_client_sent() {
        use QueryRule::Set;
        for (query, tenant, expected) in [
            ("", Some("42"), Some("customer_id=42")),
            ("a=1", Some("42"), Some("a=1&customer_id=42")),
            ("a=1&", Some("42"), Some("a=1&customer_id=42")),
            ("a=1;", Some("42"), Some("a=1;&customer_id=42")),
            ("customer_id=77&a=1", Some("42"), Some("customer_id=42&a=1")),
            ("customer%5Fid=77", Some("42"), Some("customer%5Fid=42")),
            ("customer_id=77&customer_id=78", Some("42"), Some("customer_id=42")),
            ("a=%zz&b", Some("a&b=1"), Some("a=%zz&b&customer_id=a%26b%3D1")),
            ("a=1", None, None),
            ("customer_id=77&a=1", None, Some("a=1")),
        ] {
            assert_eq!(rewritten(query, Set, tenant), Ok(expected.map(String::from)), "{query}");
        }
        let odd = QueryRules::new(vec![("a b&".into(), Set), ("x".into(), Set)]);
        let tenant = TenantId::parse("42").expect("a tenant");
        let both = rewrite_query("x=1", &odd, Some(&tenant), |_, _| true);
        assert_eq!(both, Ok(Some("x=42&a%20b%26=42".into())));
    }

    #[test]
    fn a_foreign_tenant_in_the_query_is_refused_where_it_must_match() {
        use QueryRule::Match;
        assert_eq!(rewritten("customer_id=42", Match, Some("42")), Ok(None));
        assert_eq!(rewritten("customer_id=%342", Match, Some("42")), Ok(None));
        assert_eq!(rewritten("customer_id=43", Match, Some("42")), Err(ForeignClaim));
        assert_eq!(rewritten("customer_id=42&customer_id=43", Match, Some("42")), Err(ForeignClaim));
        assert_eq!(rewritten("x=1&customer_id=43", Match, None), Ok(Some("x=1".into())));
    }
}
