//! Whether a server may hold sessions: new enough, and never evicting anything. And which one it is.
//!
//! Asked of each new connection, and again and again while it is used: a setting that is changed is noticed.

use redis::Value;

use super::fault::Fault;
use super::keys::Keys;
use super::lane::Lane;
use super::scripts::MISSING_RIGHTS;

/// The oldest Redis that knows all that the store uses (`PEXPIREAT … GT`, `PEXPIRETIME`, scripts with flags).
const OLDEST: (u32, u32) = (7, 0);

/// The right to touch the keys.
const KEYS: &str = "~";

/// What a look at a server showed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Examined {
    /// What to warn of.
    pub(super) warnings: Vec<String>,
    /// What it calls itself: this run of it, the history of data that it holds, and how much of that it has thrown away.
    /// `None` where it does not say.
    pub(super) identity: Option<String>,
}

/// Looks at a server.
pub(super) async fn examine(lane: &Lane) -> Result<Examined, Fault> {
    let mut pipeline = redis::pipe();
    for section in ["server", "memory", "persistence", "replication", "stats"] {
        pipeline.cmd("INFO").arg(section);
    }
    let mut info = String::new();
    for answer in lane.ask_each(&mut pipeline).await? {
        match answer {
            Value::BulkString(text) => info.push_str(&String::from_utf8_lossy(&text)),
            Value::VerbatimString { text, .. } => info.push_str(&text),
            Value::ServerError(error) => match Fault::from(&error) {
                Fault::Refused { code, .. } if code == "NOPERM" => {}
                fault => return Err(fault),
            },
            _ => return Err(Fault::garbled("INFO is not a text")),
        }
    }
    judge(&info)
}

/// The rights that the user lacks, as an ACL names them: those without which no session can be made, used and ended, and
/// those of the audit log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) for_sessions: Vec<String>,
    pub(super) for_audit: Vec<String>,
}

impl Missing {
    /// In words, with what to do.
    pub(super) fn text(rights: &[String], keys: &Keys) -> String {
        let named = |right: &String| if right == KEYS { keys.pattern() } else { format!("+{right}") };
        let rights: Vec<String> = rights.iter().map(named).collect();
        format!("the Redis user lacks rights: {} (docs/redis.md, \"The user\")", rights.join(" "))
    }

    /// Why nothing can be done without them; `None`: none is missing that sessions need.
    pub(super) fn refusal(self, keys: &Keys) -> Option<Fault> {
        if self.for_sessions.is_empty() {
            return None;
        }
        let all = [self.for_sessions, self.for_audit].concat();
        Some(Fault::Refused { code: String::from("NOPERM"), text: Self::text(&all, keys) })
    }
}

/// A fault with the rights that are missing, where it is for want of some: of those that a script lacks the server says
/// that there are some, and not which.
pub(super) async fn explained(lane: &Lane, probe: String, keys: &Keys, fault: Fault) -> Fault {
    if !fault.is_for_want_of_rights() {
        return fault;
    }
    let missing = missing_rights(lane, probe).await.ok();
    missing.and_then(|missing| missing.refusal(keys)).unwrap_or(fault)
}

/// Asks which commands the user may not call.
pub(super) async fn missing_rights(lane: &Lane, probe: String) -> Result<Missing, Fault> {
    let mut pipeline = redis::pipe();
    pipeline.cmd("EVAL").arg(MISSING_RIGHTS).arg(1).arg(probe);
    let names: Vec<String> = match lane.ask_each(&mut pipeline).await?.pop() {
        Some(Value::Array(names)) => names.iter().filter_map(|name| redis::from_redis_value_ref(name).ok()).collect(),
        // Then nothing else can be asked either.
        Some(Value::ServerError(error)) => match Fault::from(&error) {
            Fault::Refused { code, text } if code == "NOPERM" && text.contains("key") => vec![String::from(KEYS)],
            Fault::Refused { code, .. } if code == "NOPERM" => vec![String::from("eval")],
            // A server of another make, which has no such question: the calls themselves will tell.
            _ => Vec::new(),
        },
        _ => return Err(Fault::garbled("the missing rights are not a list")),
    };
    let (for_audit, for_sessions) = names.into_iter().partition(|name| name.starts_with('h') || name.starts_with('x'));
    Ok(Missing { for_sessions, for_audit })
}

/// What `INFO` says, as far as it may be read.
fn judge(info: &str) -> Result<Examined, Fault> {
    let mut warnings = Vec::new();
    match field(info, "redis_version").map(version) {
        Some(Some(found)) if found < OLDEST => {
            let (major, minor) = found;
            return Err(Fault::Unfit(format!("the server is Redis {major}.{minor}: Redis 7.0 or Valkey is needed")));
        }
        Some(Some(_)) => {}
        Some(None) | None => warnings.push(String::from(
            "the store's version cannot be read (may the user call INFO?): Redis 7.0 or Valkey is needed",
        )),
    }
    match field(info, "maxmemory_policy") {
        Some(policy) if policy != "noeviction" => {
            return Err(Fault::Unfit(format!(
                "the server's maxmemory-policy is {policy}: a revocation or the end of a session that it evicts would \
                 revive sessions; set it to noeviction"
            )));
        }
        Some(_) => {}
        None => warnings.push(String::from(
            "the store's maxmemory-policy cannot be read (may the user call INFO?): it must be noeviction",
        )),
    }
    if field(info, "aof_enabled") == Some("0") {
        warnings.push(String::from(
            "the store keeps no append-only file: a restart with older data loses sessions and may revive ended ones; \
             set appendonly yes",
        ));
    }
    let fields = ["run_id", "master_replid", "evicted_keys"];
    let identity = fields.map(|name| field(info, name)).into_iter().collect::<Option<Vec<&str>>>();
    Ok(Examined { warnings, identity: identity.map(|fields| fields.join(" ")) })
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "# Server\r\nredis_version:7.0.15\r\n# Memory\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n";

    fn warnings(info: &str) -> usize {
        judge(info).expect("fit").warnings.len()
    }

    #[test]
    fn a_fit_server_gives_no_warning() {
        assert_eq!(warnings(GOOD), 0);
        assert_eq!(warnings(&GOOD.replace("7.0.15", "8.2.1")), 0);
    }

    #[test]
    fn an_old_or_evicting_server_is_refused() {
        for (from, to, says) in [
            ("7.0.15", "6.2.14", "6.2"),
            ("7.0.15", "2.8.0", "2.8"),
            ("noeviction", "allkeys-lru", "noeviction"),
            ("noeviction", "allkeys-random", "noeviction"),
            ("noeviction", "volatile-ttl", "noeviction"),
            ("noeviction", "volatile-lfu", "noeviction"),
            ("noeviction", "one-that-is-made-up", "noeviction"),
        ] {
            let fault = judge(&GOOD.replace(from, to)).expect_err(to);
            assert!(matches!(&fault, Fault::Unfit(cause) if cause.contains(says)), "{fault}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_warned_of() {
        assert_eq!(warnings(""), 2);
        assert_eq!(warnings(&GOOD.replace("aof_enabled:1", "aof_enabled:0")), 1);
    }

    #[test]
    fn a_server_that_threw_something_away_is_another_one() {
        let identity = |info: &str| judge(info).expect("fit").identity;
        let whole = format!("{GOOD}run_id:ab\r\nmaster_replid:cd\r\nevicted_keys:0\r\n");
        assert_eq!(identity(GOOD), None);
        assert_eq!(identity(&whole).as_deref(), Some("ab cd 0"));
        assert_eq!(identity(&whole.replace("keys:0", "keys:1")).as_deref(), Some("ab cd 1"));
    }
}
