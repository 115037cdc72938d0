use super::form::NO_AUTHORITIES;
use super::*;

fn parse(url: &str) -> Result<StoreAddress, AddressError> {
    StoreAddress::parse(&Secret::new(url), None, None)
}

#[test]
fn every_promised_form_is_understood() {
    for (url, shown) in [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://redis.internal", "redis://redis.internal:6379/0"),
        ("redis://redis_1", "redis://redis_1:6379/0"),
        ("redis://gateway:pa%23ss@[::1]:7000/3", "redis://[::1]:7000/3"),
        ("rediss://:secret@redis.internal:6380/1", "rediss://redis.internal:6380/1"),
        ("redis+unix:/run/redis.sock", "redis+unix:/run/redis.sock?db=0"),
        ("redis+unix:///run/redis.sock?db=2&user=gateway&pass=secret", "redis+unix:/run/redis.sock?db=2"),
        ("valkey://127.0.0.1", "redis://127.0.0.1:6379/0"),
        ("valkeys://valkey.internal", "rediss://valkey.internal:6379/0"),
        ("valkey+unix:/run/valkey.sock", "redis+unix:/run/valkey.sock?db=0"),
    ] {
        let address = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(address.to_string(), shown, "{url}");
    }
}

#[test]
fn what_cannot_work_says_why_and_never_shows_the_password() {
    for url in [
        "http://u:hunter2@127.0.0.1",
        "127.0.0.1:6379",
        "",
        "redis:127.0.0.1",
        "unix:/run/redis.sock",
        "redis://u:hunter2@",
        "redis://u:hunter2@127.0.0.1:x",
        "redis://u:hunter2@127.0.0.1:0",
        "redis://u:hunter2@127.0.0.1/x",
        "redis://u:hunter2@127.0.0.1/-1",
        "redis://u:hunter2@127.0.0.1/70000",
        "redis://u:hunter2@0.0.0.0",
        "redis://u:hunter2@a,b",
        "redis://u:hunt#er2@127.0.0.1",
        "rediss://u:hunter2@127.0.0.1/#insecure",
        "redis://gateway@127.0.0.1",
    ] {
        let error = parse(url).expect_err(url).to_string();
        assert!(!error.contains("hunter2"), "{url}: {error}");
    }
}

#[test]
fn a_password_stands_in_one_place_and_is_shown_in_none() {
    let beside = |url: &str| StoreAddress::parse(&Secret::new(url), Some(&Secret::new("hunter3")), None);
    let address = beside("redis://gateway@127.0.0.1").expect("a user and a password");
    let shown = format!("{address:?} {address}");
    assert!(!shown.contains("hunter") && !shown.contains("gateway"), "{shown}");
    let Place::Server(client) = address.place() else { panic!("one server") };
    assert_eq!(client.get_connection_info().redis_settings().password(), Some("hunter3"));
    for url in ["redis://gateway:hunter2@127.0.0.1", "redis+unix:/run/redis.sock?pass=hunter2"] {
        assert_eq!(beside(url).expect_err(url), AddressError::TwoPasswords);
    }
}

#[test]
fn a_certificate_authority_needs_tls_and_must_be_one() {
    let with = |url: &str, pem: &[u8]| StoreAddress::parse(&Secret::new(url), None, Some(pem));
    assert_eq!(with("rediss://127.0.0.1", b"no PEM").expect_err("no PEM"), NO_AUTHORITIES);
    for url in ["redis://127.0.0.1", "sentinel:[127.0.0.1]/m"] {
        let error = with(url, b"no PEM").expect_err(url);
        assert!(matches!(error, AddressError::Authorities(why) if why.contains("of no use")), "{error}");
    }
}

fn with(url: &str, sentinel: Option<SentinelLogin>) -> Result<StoreAddress, AddressError> {
    StoreAddress::with(&Secret::new(url), Beside { sentinel, ..Beside::default() })
}

fn tls(tls: bool) -> Option<SentinelLogin> {
    Some(SentinelLogin { user: None, password: None, tls: Some(tls) })
}

#[test]
fn every_spelling_of_sentinels_that_people_know_is_understood() {
    for (url, shown) in [
        ("sentinel:[s1:26379,s2:26380]/mymaster", "redis+sentinel://s1:26379,s2:26380/mymaster/0"),
        ("sentinel:[s1,[::1]:26380,[::2]]/m/2", "redis+sentinel://s1:26379,[::1]:26380,[::2]:26379/m/2"),
        ("sentinel:app:pa%23ss@[s1]/mymaster", "redis+sentinel://s1:26379/mymaster/0"),
        ("sentinel://[s1]/mymaster/", "redis+sentinel://s1:26379/mymaster/0"),
        ("redis+sentinel://u:p@h1:26379,h2/mymaster/1", "redis+sentinel://h1:26379,h2:26379/mymaster/1"),
        ("valkey+sentinel://:p@h1/my-master.1", "redis+sentinel://h1:26379/my-master.1/0"),
        ("redis-sentinel://p:x@h1,h2:1/3?sentinelMasterId=m", "redis+sentinel://h1:26379,h2:1/m/3"),
        ("valkey-sentinel://h1?sentinelMasterId=m", "redis+sentinel://h1:26379/m/0"),
    ] {
        let address = with(url, None).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(address.to_string(), shown, "{url}");
    }
    for url in ["rediss+sentinel://u:p@h1/m/0", "rediss-sentinel://h1?sentinelMasterId=m", "valkeys+sentinel://h1/m"] {
        let address = with(url, tls(true)).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(address.to_string(), "rediss+sentinel://h1:26379/m/0", "{url}");
    }
}

#[test]
fn what_names_no_sentinels_or_no_master_says_so_and_never_shows_the_password() {
    for url in [
        "sentinel:u:hunter2@s1:26379/m",
        "sentinel:u:hunter2@[]/m",
        "sentinel:u:hunter2@[s1",
        "sentinel:u:hunter2@[s1]/",
        "sentinel:u:hunter2@[s1,]/m",
        "sentinel:u:hunter2@[s1:0]/m",
        "sentinel:u:hunter2@[s1:x]/m",
        "sentinel:u:hunter2@[s1]/m/x",
        "sentinel:u:hunter2@[s1]/m/70000",
        "sentinel:hunter2@[s1]/m",
        "redis+sentinel://u:hunter2@/m",
        "redis+sentinel://u:hunter2@s1",
        "redis+sentinel://u:hunter2@s1/my%20master",
        "redis+sentinel://u:hunter2@s1/m?db=0",
        "redis-sentinel://u:hunter2@s1/0",
        "redis-sentinel://u:hunter2@s1/0?sentinelMasterId=",
        "redis-sentinel://u:hunter2@s1/0?sentinelMasterId=m&timeout=1",
        "redis-sentinel://u:hunter2@s1/0?master=m",
        "redis-sentinel://u:hunt#er2@s1/0?sentinelMasterId=m",
    ] {
        let error = with(url, None).expect_err(url).to_string();
        assert!(!error.contains("hunter2"), "{url}: {error}");
    }
}

#[test]
fn with_tls_to_the_servers_it_is_said_how_sentinels_are_spoken_to() {
    let url = "rediss+sentinel://h1/m";
    assert!(matches!(with(url, None), Err(AddressError::Sentinel(why)) if why.contains("tls = true")));
    assert!(with(url, tls(false)).is_ok());
}

#[test]
fn sentinels_get_their_own_login_and_never_that_of_the_servers() {
    let own = SentinelLogin { user: Some("watcher".into()), password: Some(Secret::new("hunter3")), tls: None };
    let address = with("redis+sentinel://app:hunter2@h1/m/1", Some(own)).expect("both logins");
    let Place::Sentinels(sentinels) = address.place() else { panic!("it names Sentinels") };
    let node = &sentinels.seeds()[0];
    let login = |client: redis::Client| {
        let settings = client.get_connection_info().redis_settings().clone();
        (settings.username().map(str::to_owned), settings.password().map(str::to_owned), settings.db())
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(login(sentinels.server(node).expect("a client")), (text("app"), text("hunter2"), 1));
    assert_eq!(login(sentinels.sentinel(node).expect("a client")), (text("watcher"), text("hunter3"), 0));
    let address = with("redis+sentinel://app:hunter2@h1/m/1", None).expect("one login");
    let Place::Sentinels(sentinels) = address.place() else { panic!("it names Sentinels") };
    assert_eq!(login(sentinels.sentinel(node).expect("a client")), (None, None, 0));
    let shown = format!("{address:?} {address}");
    assert!(!shown.contains("hunter") && !shown.contains("app"), "{shown}");
    let user = SentinelLogin { user: Some("watcher".into()), password: None, tls: None };
    assert!(matches!(with("sentinel:[h1]/m", Some(user)), Err(AddressError::Sentinel(_))));
}

#[test]
fn a_node_is_reached_where_the_map_says() {
    let addresses = [("10.0.0.5:6379", "r1.internal:6380")];
    let addresses = addresses.map(|(from, to)| (from.to_owned(), to.to_owned())).into();
    let parts = Beside { addresses, ..Beside::default() };
    let address = StoreAddress::with(&Secret::new("sentinel:[h1]/m"), parts).expect("a map");
    let Place::Sentinels(sentinels) = address.place() else { panic!("it names Sentinels") };
    let reached = |node: &str| {
        let node = Node::parse(node, None).expect("a node");
        sentinels.server(&node).expect("a client").get_connection_info().addr().to_string()
    };
    assert_eq!((&*reached("10.0.0.5:6379"), &*reached("10.0.0.6:6379")), ("r1.internal:6380", "10.0.0.6:6379"));
    for (from, to) in [("10.0.0.5", "r1:1"), ("10.0.0.5:1", "r1"), ("", "r1:1"), ("?:1", "r1:1")] {
        let addresses = [(from.to_owned(), to.to_owned())].into();
        let parts = Beside { addresses, ..Beside::default() };
        let error = StoreAddress::with(&Secret::new("sentinel:[h1]/m"), parts).expect_err(from);
        assert!(matches!(error, AddressError::Addresses(_)), "{from} {to}");
    }
}

#[test]
fn every_spelling_of_a_cluster_that_people_know_is_understood() {
    for (url, shown) in [
        ("cluster:[n1:7000,n2:7001]", "redis+cluster://n1:7000,n2:7001"),
        ("cluster:[n1,[::1]:7001,[::2]]", "redis+cluster://n1:6379,[::1]:7001,[::2]:6379"),
        ("cluster:app:pa%23ss@[n1]/0", "redis+cluster://n1:6379"),
        ("cluster://[n1]/", "redis+cluster://n1:6379"),
        ("redis+cluster://u:p@n1:7000,n2", "redis+cluster://n1:7000,n2:6379"),
        ("redis-cluster://:p@n1,n2/0", "redis+cluster://n1:6379,n2:6379"),
        ("valkey+cluster://n1", "redis+cluster://n1:6379"),
        ("valkey-cluster://n1", "redis+cluster://n1:6379"),
        ("rediss+cluster://u:p@n1", "rediss+cluster://n1:6379"),
        ("rediss-cluster://n1", "rediss+cluster://n1:6379"),
        ("valkeys+cluster://n1", "rediss+cluster://n1:6379"),
        ("valkeys-cluster://n1", "rediss+cluster://n1:6379"),
    ] {
        let address = parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(address.to_string(), shown, "{url}");
        assert!(matches!(address.place(), Place::Cluster(_)), "{url}");
    }
}

#[test]
fn what_names_no_nodes_of_a_cluster_says_so_and_never_shows_the_password() {
    let many = format!("cluster:u:hunter2@[{}n]", "n,".repeat(64));
    for url in [
        "cluster:u:hunter2@[]",
        "cluster:u:hunter2@[n1",
        "cluster:u:hunter2@n1",
        "cluster:u:hunter2@[n1,]",
        "cluster:u:hunter2@[n1:0]",
        "cluster:u:hunter2@[n1:x]",
        "cluster:u:hunter2@[n1]/1",
        "cluster:u:hunter2@[n1]/x",
        "cluster:hunter2@[n1]",
        "redis+cluster://u:hunter2@",
        "redis+cluster://u:hunter2@n1/1",
        "redis+cluster://u:hunter2@n1?db=0",
        "redis-cluster://u:hunt#er2@n1",
        "redis-cluster:u:hunter2@n1",
        &many,
    ] {
        let error = parse(url).expect_err(url).to_string();
        assert!(!error.contains("hunter2"), "{url}: {error}");
    }
}

#[test]
fn a_cluster_has_one_login_and_a_map_and_nothing_of_sentinels() {
    let url = Secret::new("cluster:gateway@[10.0.0.5:6379]");
    let addresses = [("10.0.0.5:6379".to_owned(), "n1.internal:6380".to_owned())].into();
    let parts = Beside { password: Some(Secret::new("hunter3")), addresses, ..Beside::default() };
    let address = StoreAddress::with(&url, parts.clone()).expect("a login and a map");
    let Place::Cluster(nodes) = address.place() else { panic!("it names a cluster") };
    let client = nodes.server(&nodes.seeds()[0]).expect("a client");
    let info = client.get_connection_info();
    assert_eq!(info.addr().to_string(), "n1.internal:6380");
    assert_eq!(
        (info.redis_settings().username(), info.redis_settings().password()),
        (Some("gateway"), Some("hunter3"))
    );
    assert!(!format!("{address:?} {address}").contains("gateway"));
    let strict = Beside { strict_failover: Some(true), ..parts.clone() };
    assert!(matches!(StoreAddress::with(&url, strict), Err(AddressError::StrictFailover(_))));
    let sentinel = Beside { sentinel: Some(SentinelLogin::default()), ..parts.clone() };
    assert!(matches!(StoreAddress::with(&url, sentinel), Err(AddressError::Sentinel(_))));
    let authorities = Beside { authorities: Some(b"no PEM".to_vec()), ..parts };
    assert!(
        matches!(StoreAddress::with(&url, authorities), Err(AddressError::Authorities(why)) if why.contains("of no use"))
    );
}
