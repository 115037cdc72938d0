//! What one Sentinel says: who the master is, since which election, who else watches it, and who could succeed it.
//!
//! Nothing of it is believed by itself (see `vote`): a Sentinel may be old, cut off, or lie. What is in no shape that a
//! Sentinel answers in is refused whole.

use std::collections::{BTreeMap, BTreeSet};

use redis::{Pipeline, Value};

use super::answers::exactly;
use super::fault::{Fault, text, unexpected};
use crate::clock::Monotonic;
use crate::store::address::Node;

/// More Sentinels, or replicas, of one master are no sensible answer.
const MOST: usize = 64;
/// The longest name of a Sentinel.
const LONGEST_ID: usize = 64;

/// What it is called by itself and by others.
pub(super) type SentinelId = Box<str>;

/// What one Sentinel said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) by: SentinelId,
    /// When it was asked.
    pub(super) asked: Monotonic,
    pub(super) master: Node,
    /// The number of the election that made it the master.
    pub(super) election: u64,
    /// For how long the master may be silent (ms).
    pub(super) down_after: u64,
    /// The other Sentinels that it knows.
    pub(super) others: BTreeMap<SentinelId, Node>,
    /// The replicas that may come to be the master.
    pub(super) heirs: BTreeSet<Node>,
}

/// Asks for it.
pub(super) fn question(name: &str) -> Pipeline {
    let mut pipeline = redis::pipe();
    pipeline.cmd("SENTINEL").arg("MYID");
    for what in ["GET-MASTER-ADDR-BY-NAME", "MASTER", "SENTINELS", "REPLICAS"] {
        pipeline.cmd("SENTINEL").arg(what).arg(name);
    }
    pipeline
}

/// The answers to that.
pub(super) fn word(asked: Monotonic, answers: Vec<Value>) -> Result<Word, Fault> {
    let [by, address, master, others, replicas] = exactly(answers)?;
    let by = id(&string(by)?)?;
    // During a failover it names the new master here first.
    let master_node = match address {
        Value::Nil => return Err(Fault::Unfit(String::from("it knows no master of this name"))),
        Value::Array(parts) => {
            let [host, port] = exactly(parts)?;
            node(&string(host)?, &string(port)?)?
        }
        other => return Err(unexpected("a master's address", &other)),
    };
    let master = fields(master)?;
    let (election, down_after) = (number(&master, "config-epoch")?, number(&master, "down-after-milliseconds")?);
    let mut known = BTreeMap::new();
    for other in list(others)? {
        let other = fields(other)?;
        let runid = other.get("runid").map_or("", String::as_str);
        // One of which no more than the address was heard yet.
        if !runid.is_empty() {
            known.insert(id(runid)?, node_of(&other)?);
        }
    }
    known.remove(&by);
    let mut heirs = BTreeSet::new();
    for replica in list(replicas)? {
        let replica = fields(replica)?;
        if number(&replica, "slave-priority")? != 0 {
            heirs.insert(node_of(&replica)?);
        }
    }
    heirs.remove(&master_node);
    Ok(Word { by, asked, master: master_node, election, down_after, others: known, heirs })
}

fn string(value: Value) -> Result<String, Fault> {
    let bytes = text(value)?.ok_or_else(|| Fault::garbled("a Sentinel says nothing"))?;
    String::from_utf8(bytes).map_err(|_| Fault::garbled("a Sentinel says what is no text"))
}

fn id(text: &str) -> Result<SentinelId, Fault> {
    let fits = !text.is_empty() && text.len() <= LONGEST_ID && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if fits { Ok(text.into()) } else { Err(Fault::garbled("a Sentinel has no name")) }
}

fn node(host: &str, port: &str) -> Result<Node, Fault> {
    Node::of(host, port).ok_or_else(|| Fault::garbled("a Sentinel names a server that has no address"))
}

fn node_of(fields: &BTreeMap<String, String>) -> Result<Node, Fault> {
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    node(field("ip"), field("port"))
}

fn number(fields: &BTreeMap<String, String>, name: &str) -> Result<u64, Fault> {
    let digits = fields.get(name).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok());
    number.ok_or_else(|| Fault::garbled(format!("a Sentinel does not say {name}")))
}

fn list(value: Value) -> Result<Vec<Value>, Fault> {
    match value {
        Value::Array(list) if list.len() <= MOST => Ok(list),
        Value::Array(_) => Err(Fault::garbled("a Sentinel names more servers than there can be")),
        other => Err(unexpected("a list of servers", &other)),
    }
}

/// A map, or what is one in the older protocol.
fn fields(value: Value) -> Result<BTreeMap<String, String>, Fault> {
    match value {
        Value::Map(pairs) => pairs.into_iter().map(|(name, value)| Ok((string(name)?, string(value)?))).collect(),
        Value::Array(flat) => {
            let mut fields = BTreeMap::new();
            let mut flat = flat.into_iter();
            while let (Some(name), Some(value)) = (flat.next(), flat.next()) {
                fields.insert(string(name)?, string(value)?);
            }
            Ok(fields)
        }
        Value::ServerError(error) if error.details().is_some_and(|text| text.contains("No such master")) => {
            Err(Fault::Unfit(String::from("it knows no master of this name")))
        }
        other => Err(unexpected("what a Sentinel knows of a server", &other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn map(pairs: &[(&str, &str)]) -> Value {
        Value::Map(pairs.iter().map(|(name, value)| (bulk(name), bulk(value))).collect())
    }

    /// What a Sentinel of Redis 7.0 answers, as far as it is read.
    fn answers() -> Vec<Value> {
        let server =
            |port: &str, priority: &str| map(&[("ip", "10.0.0.1"), ("port", port), ("slave-priority", priority)]);
        vec![
            bulk("aa"),
            Value::Array(vec![bulk("10.0.0.1"), bulk("6379")]),
            map(&[("ip", "10.0.0.1"), ("config-epoch", "7"), ("down-after-milliseconds", "5000")]),
            Value::Array(vec![
                map(&[("runid", "bb"), ("ip", "10.0.0.2"), ("port", "26379")]),
                map(&[("runid", ""), ("ip", "10.0.0.3"), ("port", "26379")]),
            ]),
            Value::Array(vec![server("6380", "100"), server("6381", "0"), server("6379", "100")]),
        ]
    }

    #[test]
    fn a_sentinel_says_who_the_master_is_and_who_could_succeed_it() {
        let word = word(Monotonic::from_micros(3), answers()).expect("sensible");
        assert_eq!((&*word.by, word.master.to_string(), word.election), ("aa", "10.0.0.1:6379".to_owned(), 7));
        assert_eq!(word.others.keys().map(|id| &**id).collect::<Vec<_>>(), ["bb"]);
        let heirs: Vec<String> = word.heirs.iter().map(Node::to_string).collect();
        assert_eq!(heirs, ["10.0.0.1:6380"], "none that is never promoted, and not the master itself");
    }

    #[test]
    fn the_older_protocols_pairs_say_the_same() {
        let flat = answers().into_iter().map(flatten).collect();
        assert_eq!(word(Monotonic::from_micros(3), flat), word(Monotonic::from_micros(3), answers()));
    }

    fn flatten(value: Value) -> Value {
        match value {
            Value::Map(pairs) => Value::Array(pairs.into_iter().flat_map(|(name, value)| [name, value]).collect()),
            Value::Array(list) => Value::Array(list.into_iter().map(flatten).collect()),
            other => other,
        }
    }

    #[test]
    fn what_no_sentinel_answers_is_refused_whole() {
        let many = vec![map(&[("runid", "cc"), ("ip", "a"), ("port", "1")]); MOST + 1];
        let wrong: Vec<(usize, Value)> = vec![
            (0, Value::Nil),
            (0, bulk("")),
            (0, bulk("a b")),
            (0, bulk(&"a".repeat(LONGEST_ID + 1))),
            (1, Value::Array(vec![bulk("10.0.0.1")])),
            (1, Value::Array(vec![bulk("?"), bulk("6379")])),
            (1, Value::Array(vec![bulk(""), bulk("6379")])),
            (1, Value::Array(vec![bulk("10.0.0.1"), bulk("0")])),
            (1, Value::Array(vec![bulk("10.0.0.1"), bulk("65536")])),
            (1, Value::Array(vec![Value::BulkString(vec![0xff]), bulk("6379")])),
            (1, Value::Nil),
            (2, map(&[])),
            (2, map(&[("config-epoch", "7")])),
            (2, map(&[("config-epoch", "-1")])),
            (2, map(&[("config-epoch", "99999999999999999999999")])),
            (2, Value::Nil),
            (3, Value::Nil),
            (3, Value::Array(many)),
            (3, Value::Array(vec![map(&[("runid", "cc"), ("ip", "?"), ("port", "1")])])),
            (4, Value::Array(vec![map(&[("ip", "a"), ("port", "1")])])),
            (4, Value::Array(vec![Value::Int(1)])),
        ];
        for (at, value) in wrong {
            let mut answers = answers();
            answers[at] = value.clone();
            assert!(word(Monotonic::from_micros(3), answers).is_err(), "{at}: {value:?}");
        }
        assert!(word(Monotonic::from_micros(3), answers()[..4].to_vec()).is_err());
    }
}
