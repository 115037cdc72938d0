//! What went wrong with a call: what it means for the connection, and words for the log that hold no secret.

use redis::{RedisError, ServerError, Value};

use super::super::Unavailable;
use super::super::observe::CallOutcome;

/// The longest text of a server's error that is repeated.
const LONGEST: usize = 160;

/// Why a call has no answer. Each of them means "unavailable" to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No answer to a command in time.
    Timeout,
    /// Each command was answered in time, but all of them together took too long.
    Slow,
    /// The connection broke or could not be made.
    Lost(String),
    /// The server answered by an error of this code.
    Refused { code: String, text: String },
    /// The server answered what was never written, or what is no Redis protocol.
    Garbled(String),
    /// What the server keeps of one session was never written, or by another version.
    Unreadable(String),
    /// A server that must not be used.
    Unfit(String),
    /// The Sentinels name another master, or none.
    Deposed(Option<String>),
    /// It answers, and nothing proves that it is still the master.
    Unproven(String),
    /// A master of a cluster cannot answer now: the others can.
    Shard(String),
    /// What the server holds is not what it held when the connection was made: it was emptied, or threw something away.
    OtherData,
}

impl Fault {
    pub(super) fn garbled(what: impl std::fmt::Display) -> Self {
        Self::Garbled(what.to_string())
    }

    pub(super) const fn outcome(&self) -> CallOutcome {
        match self {
            Self::Timeout | Self::Slow => CallOutcome::Timeout,
            Self::Lost(_) => CallOutcome::Lost,
            Self::Refused { .. } => CallOutcome::Refused,
            Self::Garbled(_) | Self::Unreadable(_) => CallOutcome::Garbled,
            Self::Unfit(_) | Self::OtherData | Self::Deposed(_) | Self::Unproven(_) | Self::Shard(_) => {
                CallOutcome::Down
            }
        }
    }

    /// Whether the connection is of no more use: it is gone or stuck, or leads to a server that cannot serve now. One that
    /// takes no writes at all (no replicas, a disk that refuses) cannot end a session either, and may be an old master
    /// that others have left: what it says of sessions proves nothing. One that is out of memory, or lacks a permission,
    /// still answers reads.
    pub(super) fn breaks_connection(&self) -> bool {
        match self {
            Self::Timeout | Self::Lost(_) | Self::Unfit(_) | Self::OtherData | Self::Deposed(_) => true,
            Self::Garbled(_) | Self::Unreadable(_) | Self::Slow | Self::Unproven(_) | Self::Shard(_) => false,
            Self::Refused { code, .. } => {
                matches!(
                    code.as_str(),
                    "LOADING"
                        | "MASTERDOWN"
                        | "READONLY"
                        | "NOAUTH"
                        | "WRONGPASS"
                        | "CLUSTERDOWN"
                        | "NOREPLICAS"
                        | "MISCONF"
                )
            }
        }
    }

    /// Whether a node of a cluster only says that it has not, or not yet, what it was asked about.
    pub(super) fn is_of_a_slot_elsewhere(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if matches!(code.as_str(), "MOVED" | "ASK" | "TRYAGAIN"))
    }

    /// What kind of trouble it is for the calls of that name, where it is none of a single session's.
    pub(super) fn trouble(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::Slow | Self::Timeout => Some("slow"),
            Self::Unproven(_) => Some("unproven"),
            Self::Shard(_) => Some("shard"),
            Self::Lost(_)
            | Self::Garbled(_)
            | Self::Unreadable(_)
            | Self::Unfit(_)
            | Self::OtherData
            | Self::Deposed(_) => None,
        }
    }

    /// Whether the user lacks some right: for the call itself, or for what a script does, which Redis and Valkey say in words
    /// alone.
    pub(super) fn is_for_want_of_rights(&self) -> bool {
        let in_a_script = |text: &str| {
            ["user executing the script can't", "ACL failure in script"].iter().any(|words| text.contains(words))
        };
        matches!(self, Self::Refused { code, text } if code == "NOPERM" || in_a_script(text))
    }

    /// Whether the server only has no room for more.
    pub(super) fn is_out_of_memory(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "OOM")
    }

    /// From an error while the connection is set up. Its text is dropped: old servers and proxies repeat what they did
    /// not understand, and that holds the password.
    pub(super) fn while_connecting(error: &RedisError) -> Self {
        match Self::from(error.clone()) {
            Self::Refused { code, .. } => Self::Refused { code, text: String::new() },
            Self::Garbled(_) => Self::Lost(String::from("it does not speak the Redis protocol")),
            other => other,
        }
    }
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::Timeout;
        }
        match error.kind() {
            redis::ErrorKind::Parse => Self::Lost(String::from("it does not speak the Redis protocol")),
            redis::ErrorKind::AuthenticationFailed => {
                Self::Refused { code: String::from("WRONGPASS"), text: String::new() }
            }
            redis::ErrorKind::RESP3NotSupported => {
                Self::Unfit(String::from("the server is too old: Redis 7.0 or Valkey is needed"))
            }
            _ => {
                let text = error.to_string();
                match error.into_server_errors().as_deref() {
                    // In a transaction the cause comes first, and "transaction discarded" after it.
                    Some([(_, first), ..]) => Self::from(first),
                    Some([]) | None => Self::Lost(printable(&text)),
                }
            }
        }
    }
}

impl From<&ServerError> for Fault {
    fn from(error: &ServerError) -> Self {
        Self::Refused { code: printable(error.code()), text: printable(error.details().unwrap_or_default()) }
    }
}

impl From<Fault> for Unavailable {
    fn from(fault: Fault) -> Self {
        let unreadable = matches!(fault, Fault::Unreadable(_));
        Self { unreadable, ..Self::because(fault) }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => formatter.write_str("no answer in time"),
            Self::Slow => formatter.write_str("too slow: not all done in time"),
            Self::Lost(cause) => write!(formatter, "the connection failed: {cause}"),
            Self::Garbled(cause) | Self::Unreadable(cause) => write!(formatter, "not a sensible answer: {cause}"),
            Self::Unfit(cause) | Self::Unproven(cause) | Self::Shard(cause) => formatter.write_str(cause),
            Self::Deposed(Some(other)) => write!(formatter, "the Sentinels name another master: {other}"),
            Self::Deposed(None) => formatter.write_str("the Sentinels name no master"),
            Self::OtherData => formatter.write_str("the server was emptied, or does not hold what it held any more"),
            Self::Refused { code, text } => match (code.as_str(), text.as_str()) {
                ("NOAUTH", _) => formatter.write_str("NOAUTH: the server asks for a password"),
                ("WRONGPASS", _) => formatter.write_str("WRONGPASS: user or password is wrong"),
                ("NOPERM", text) if text.contains("docs/redis.md") => write!(formatter, "NOPERM: {text}"),
                ("NOPERM", text) => write!(formatter, "NOPERM: the user may not do this, see docs/redis.md: {text}"),
                ("OOM", _) => formatter.write_str("OOM: the server is out of memory and takes no new sessions"),
                ("READONLY", _) => formatter.write_str("READONLY: the server is a replica"),
                ("LOADING", _) => formatter.write_str("LOADING: the server still reads its data"),
                (code, "") => formatter.write_str(code),
                (code, text) => write!(formatter, "{code}: {text}"),
            },
        }
    }
}

/// One short line whatever the server sent.
fn printable(text: &str) -> String {
    text.chars().take(LONGEST).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// The answers of a pipeline of `count` commands.
pub(super) fn answers(value: Value, count: usize) -> Result<Vec<Value>, Fault> {
    match value {
        Value::Array(values) if values.len() == count => Ok(values),
        _ => Err(Fault::garbled("not one answer for each command")),
    }
}

/// A string that is there or not.
pub(super) fn text(value: Value) -> Result<Option<Vec<u8>>, Fault> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        other => Err(unexpected("a string", &other)),
    }
}

/// A number.
pub(super) fn number(value: &Value) -> Result<i64, Fault> {
    match value {
        Value::Int(number) => Ok(*number),
        other => Err(unexpected("a number", other)),
    }
}

/// Which of an error or another type it was; never its content.
pub(super) fn unexpected(wanted: &str, got: &Value) -> Fault {
    match got {
        Value::ServerError(error) => Fault::from(error),
        Value::Nil => Fault::Garbled(format!("nothing where {wanted} should be")),
        _ => Fault::Garbled(format!("another type where {wanted} should be")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_repeats_of_a_login_is_never_shown() {
        let echoed = redis::make_extension_error(
            String::from("ERR"),
            Some(String::from("unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `u`, `hunter2`")),
        );
        assert!(!Fault::while_connecting(&echoed).to_string().contains("hunter2"));
    }

    #[test]
    fn a_server_cannot_break_a_line_of_the_log() {
        let error =
            redis::make_extension_error(String::from("ERR"), Some(format!("a\r\nb\u{1b}[0m{}", "x".repeat(9999))));
        let shown = Fault::from(error).to_string();
        assert!(!shown.chars().any(char::is_control) && shown.len() < 300, "{shown}");
    }

    #[test]
    fn a_server_that_is_full_keeps_its_connection_and_one_that_is_a_replica_does_not() {
        let refused = |code: &str| Fault::Refused { code: code.to_owned(), text: String::new() };
        for (code, breaks) in [
            ("OOM", false),
            ("NOPERM", false),
            ("MISCONF", true),
            ("NOREPLICAS", true),
            ("READONLY", true),
            ("LOADING", true),
            ("NOAUTH", true),
        ] {
            assert_eq!(refused(code).breaks_connection(), breaks, "{code}");
        }
        assert!(Fault::Timeout.breaks_connection());
        assert!(!Fault::Slow.breaks_connection(), "one user with many sessions must not cut off everybody");
    }
}
