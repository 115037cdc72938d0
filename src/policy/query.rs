//! Query parameters that hold a tenant (`identity.query`): overwritten, dropped or compared.
//!
//! Everything else in the query stays byte for byte. A parameter is found by its decoded name, between `&`, and between
//! `;` too, because older backends split there.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::session::TenantId;

/// What happens to a query parameter that holds a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryRule {
    /// The session's tenant takes its place.
    Overwrite,
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

    fn rule(&self, name: &[u8]) -> Option<QueryRule> {
        let name: Vec<u8> = name.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
        let name: Vec<u8> = percent_decode(&name).collect();
        self.0.iter().find(|(known, _)| known.as_bytes() == name).map(|(_, rule)| *rule)
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
    let mut overwritten = Vec::new();
    let mut changed = false;
    for piece in query.split_inclusive(['&', ';']) {
        let (pair, separator) = match piece.strip_suffix(['&', ';']) {
            Some(pair) => (pair, &piece[pair.len()..]),
            None => (piece, ""),
        };
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (rules.rule(name.as_bytes()), tenant) {
            (None, _) => kept.push_str(piece),
            (Some(QueryRule::Match), Some(tenant)) => {
                if !same_tenant(&decoded(value), tenant) {
                    return Err(ForeignClaim);
                }
                kept.push_str(piece);
            }
            // Once: a second one could be the one that the backend believes.
            (Some(QueryRule::Overwrite), Some(tenant)) if !overwritten.contains(&name) => {
                changed = true;
                overwritten.push(name);
                kept.push_str(name);
                kept.push('=');
                kept.extend(utf8_percent_encode(tenant.as_str(), NON_ALPHANUMERIC));
                kept.push_str(separator);
            }
            (Some(_), _) => changed = true,
        }
    }
    if !changed {
        return Ok(None);
    }
    // A removed last parameter leaves its separator behind.
    let trimmed = kept.trim_end_matches(['&', ';']).len();
    if !query.ends_with(['&', ';']) {
        kept.truncate(trimmed);
    }
    Ok(Some(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(query: &str, rule: QueryRule, tenant: Option<&str>) -> Result<Option<String>, ForeignClaim> {
        let rules = QueryRules::new(vec![("customer_id".into(), rule)]);
        let tenant = tenant.map(|tenant| TenantId::parse(tenant).expect("a tenant"));
        rewrite_query(query, &rules, tenant.as_ref(), |claim, tenant| claim == tenant.as_str())
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
    fn a_foreign_tenant_in_the_query_is_refused_where_it_must_match() {
        use QueryRule::Match;
        assert_eq!(rewritten("customer_id=42", Match, Some("42")), Ok(None));
        assert_eq!(rewritten("customer_id=%342", Match, Some("42")), Ok(None));
        assert_eq!(rewritten("customer_id=43", Match, Some("42")), Err(ForeignClaim));
        assert_eq!(rewritten("customer_id=42&customer_id=43", Match, Some("42")), Err(ForeignClaim));
        assert_eq!(rewritten("x=1&customer_id=43", Match, None), Ok(Some("x=1".into())));
    }
}
