use proptest::prelude::*;

use super::*;

fn bulk(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn name(letter: char) -> String {
    String::from_iter([letter; ID_LENGTH])
}

fn owner(host: &str, port: i64, letter: char) -> Value {
    Value::Array(vec![bulk(host), Value::Int(port), bulk(&name(letter)), Value::Array(vec![])])
}

fn entry(first: i64, last: i64, owner: Value) -> Value {
    Value::Array(vec![Value::Int(first), Value::Int(last), owner])
}

const NODES: &str = "\
aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 10.0.0.1:7001@17001,one.internal myself,master - 0 0 1 connected 0-99 200 [50->-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb]
bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 10.0.0.2:7002@17002 master,fail - 5 6 2 disconnected 100-199
xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx 10.0.0.3:7003@17003 slave aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0 0 1 connected
yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy :0@0 slave,fail,noaddr aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 0 0 1 disconnected
cccccccccccccccccccccccccccccccccccccccc [::1]:7004@17004,,shard-id=1 master - 0 0 0 connected
zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz 10.0.0.9:7009@17009 handshake - 0 0 0 connected
";

/// What a node answers, as far as it is read.
fn answers() -> Vec<Value> {
    let slots = vec![
        entry(200, 200, owner("one.internal", 7001, 'a')),
        entry(0, 99, owner("one.internal", 7001, 'a')),
        entry(100, 199, owner("10.0.0.2", 7002, 'b')),
    ];
    let nodes = Value::VerbatimString { format: redis::VerbatimFormat::Text, text: NODES.to_owned() };
    vec![Value::Array(slots), nodes, bulk("cluster_state:ok\r\ncluster_current_epoch:7\r\ncluster_my_epoch:1\r\n")]
}

fn at() -> Node {
    Node::new("seed.internal", 6379).expect("a node")
}

fn said(answers: Vec<Value>) -> Result<Word, Fault> {
    word(Monotonic::from_micros(3), &at(), answers)
}

#[test]
fn a_node_says_who_has_what_and_who_follows_also_of_those_that_failed() {
    let word = said(answers()).expect("sensible");
    assert_eq!((&*word.by, word.election, word.last_won()), (&*name('a'), 7, 2));
    let shard = &word.shards[&*name('a')];
    assert_eq!((shard.node.to_string(), shard.election), ("one.internal:7001".to_owned(), 1));
    assert_eq!(shard.slots, [(0, 99), (200, 200)]);
    assert_eq!(shard.heirs[&*name('x')].as_ref().map(Node::to_string), Some("10.0.0.3:7003".to_owned()));
    assert_eq!(shard.heirs[&*name('y')], None, "one without an address may follow all the same");
    assert_eq!(word.shards[&*name('b')].slots, [(100, 199)]);
    assert_eq!(word.shards.len(), 2, "a master without slots is nobody's");
}

#[test]
fn a_host_that_is_not_said_is_that_of_the_node_that_answers() {
    for host in [Value::Nil, bulk("")] {
        let mut answers = answers();
        let owner = Value::Array(vec![host, Value::Int(7001), bulk(&name('a'))]);
        answers[0] = Value::Array(vec![entry(0, 99, owner)]);
        let word = said(answers).expect("sensible");
        assert_eq!(word.shards[&*name('a')].node.to_string(), "seed.internal:7001");
    }
}

#[test]
fn what_no_node_answers_is_refused_whole() {
    let slots = |entries: Vec<Value>| (0, Value::Array(entries));
    let a = || owner("10.0.0.1", 7001, 'a');
    let line = |from: &str, to: &str| (1, bulk(&NODES.replacen(from, to, 1)));
    let stranger = format!("{} 10.0.0.1:1@2 master - 0 0 1 connected\n", name('d'));
    let wrong: Vec<(usize, Value)> = vec![
        slots(vec![]),
        slots(vec![entry(0, 99, owner("?", 7001, 'a'))]),
        slots(vec![entry(0, 99, owner("a b", 7001, 'a'))]),
        slots(vec![entry(0, 99, owner("10.0.0.1", 0, 'a'))]),
        slots(vec![entry(0, 99, owner("10.0.0.1", 65_536, 'a'))]),
        slots(vec![entry(0, 99, owner("10.0.0.1", 7001, 'x'))]),
        slots(vec![entry(0, 99, owner("10.0.0.1", 7001, 'q'))]),
        slots(vec![entry(0, 99, Value::Array(vec![bulk("10.0.0.1"), Value::Int(7001)]))]),
        slots(vec![entry(0, 99, Value::Array(vec![bulk("10.0.0.1"), bulk("7001"), bulk(&name('a'))]))]),
        slots(vec![entry(0, 16_384, a())]),
        slots(vec![entry(-1, 9, a())]),
        slots(vec![entry(9, 8, a())]),
        slots(vec![entry(0, 99, a()), entry(99, 100, owner("10.0.0.2", 7002, 'b'))]),
        slots(vec![Value::Array(vec![Value::Int(0), Value::Int(99)])]),
        slots(vec![Value::Int(1)]),
        slots(vec![entry(0, 0, a()); usize::from(SLOTS) + 1]),
        (0, Value::Nil),
        (0, bulk("")),
        (1, Value::Nil),
        (1, bulk("")),
        (1, bulk("\n\n")),
        (1, Value::BulkString(vec![0xff])),
        line("myself,", ""),
        line("master,fail", "myself,master"),
        line("slave a", "noflags a"),
        line(" - 5 6 2", " x 5 6 2"),
        line(" - 5 6 2", " - 5 6 -2"),
        line(" - 5 6 2 disconnected 100-199", ""),
        line("\nbbbb", "\nb"),
        (1, bulk(&(NODES.to_owned() + &NODES.replace("myself,", "")))),
        (1, bulk(&(NODES.to_owned() + &stranger.repeat(2)))),
        (2, bulk("cluster_state:ok\r\n")),
        (2, bulk("cluster_current_epoch:-1\r\n")),
        (2, bulk("cluster_current_epoch:99999999999999999999999\r\n")),
        (2, Value::Nil),
    ];
    for (at, value) in wrong {
        let mut answers = answers();
        answers[at] = value.clone();
        assert!(said(answers).is_err(), "{at}: {value:?}");
    }
    assert!(said(answers()[..2].to_vec()).is_err());
    let letters = |number: usize| (0..ID_LENGTH).map(|at| if number >> at & 1 == 1 { 'e' } else { 'f' }).collect();
    let many: Vec<String> = (0..MOST)
        .map(|number| stranger.replace(&name('d'), &String::from_iter::<Vec<char>>(letters(number))))
        .collect();
    let mut answers = answers();
    answers[1] = bulk(&(NODES.to_owned() + &many.concat()));
    assert!(said(answers).is_err(), "more than there can be");
}

#[test]
fn two_agree_who_say_the_same_of_slots_and_elections() {
    let word = said(answers()).expect("sensible");
    let mut other = word.clone();
    other.election += 1;
    other.shards.get_mut(&*name('a')).expect("it is there").heirs.clear();
    assert!(word.agrees_with(&other));
    other.shards.get_mut(&*name('a')).expect("it is there").election += 1;
    assert!(!word.agrees_with(&other));
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<i64>().prop_map(Value::Int),
        (0_i64..20_000).prop_map(Value::Int),
        "[a-z0-9:@,. \n-]{0,60}".prop_map(|text| bulk(&text)),
        proptest::sample::select(vec!['a', 'b', 'x']).prop_map(|letter| bulk(&name(letter))),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Value::BulkString),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| proptest::collection::vec(inner, 0..6).prop_map(Value::Array))
}

proptest! {
    /// Nothing that is said makes it panic, and whatever is taken names each slot once and each master by a place.
    #[test]
    fn no_answer_is_taken_that_names_a_slot_twice(slots in value(), lines in proptest::collection::vec(0_usize..6, 0..8), noise in "\\PC{0,80}") {
        let known: Vec<&str> = NODES.lines().collect();
        let text: Vec<&str> = lines.iter().map(|line| known[*line]).chain([noise.as_str()]).collect();
        for nodes in [bulk(&text.join("\n")), bulk(NODES)] {
            let Ok(word) = said(vec![slots.clone(), nodes, answers()[2].clone()]) else { continue };
            prop_assert!(!word.shards.is_empty());
            let mut seen = vec![false; usize::from(SLOTS)];
            for (first, last) in word.shards.values().flat_map(|shard| shard.slots.clone()) {
                for slot in first..=last {
                    prop_assert!(!std::mem::replace(&mut seen[usize::from(slot)], true));
                }
            }
        }
    }
}
