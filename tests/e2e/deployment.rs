//! The files of `deploy/compose` and `deploy/kubernetes`: their gateways serve, and what the files say of each other is so.
//! No container engine takes part.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use toml::{Table, Value as Toml};
use yaml_rust2::yaml::Hash;
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::gateway::shipped;
use crate::support::ports::{free_port, local};
use crate::support::process::Process;
use crate::support::redis::command;
use crate::support::{Backend as _, Gateway, RedisServer, flask, scratch, wait_until};

pub(crate) fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

pub(crate) fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).expect(file)
}

fn yaml(file: &str) -> Vec<Yaml> {
    YamlLoader::load_from_str(&read(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A compose file, with what `<<` takes over in its place.
pub(crate) fn compose(file: &str) -> Yaml {
    merged(&yaml(file)[0])
}

fn merged(yaml: &Yaml) -> Yaml {
    let Yaml::Hash(entries) = yaml else { return yaml.clone() };
    let taken_over = Yaml::from_str("<<");
    let mut all = match entries.get(&taken_over).map(merged) {
        Some(Yaml::Hash(others)) => others,
        _ => Hash::new(),
    };
    for (key, value) in entries.iter().filter(|(key, _)| **key != taken_over) {
        all.insert(key.clone(), merged(value));
    }
    Yaml::Hash(all)
}

pub(crate) fn list(yaml: &Yaml) -> Vec<&str> {
    yaml.as_vec().expect("a list").iter().map(|item| item.as_str().expect("a text")).collect()
}

pub(crate) fn text<'a>(config: &'a Table, section: &str, key: &str) -> &'a str {
    config[section].get(key).and_then(Toml::as_str).unwrap_or_else(|| panic!("no {section}.{key}"))
}

/// The seconds of "30s".
fn seconds(duration: &str) -> i64 {
    duration.strip_suffix('s').and_then(|number| number.parse().ok()).expect(duration)
}

/// How long a gateway with this configuration may take to stop.
fn longest_stop(config: &Table) -> i64 {
    let server = |key: &str, default| config["server"].get(key).and_then(Toml::as_str).map_or(default, seconds);
    server("drain_delay", 5) + server("drain_timeout", 30)
}

/// The port of "0.0.0.0:8080".
fn port(address: &str) -> i64 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect(address)
}

#[test]
fn the_gateway_of_the_compose_file_serves_on_the_redis_of_the_compose_file() {
    let folder = prepared("compose/prepare", &[]);
    let at = |name: &str| folder.path().join(name).display().to_string();
    for file in ["secrets/redis-password", "secrets/redis-users"] {
        let mode = std::fs::metadata(at(file)).expect(file).permissions().mode() & 0o777;
        assert_eq!(mode, 0o640, "{file}");
    }
    let group = std::fs::read_to_string(at(".env")).expect("made");
    assert!(group.trim().strip_prefix("SECRETS_GROUP=").is_some_and(|group| group.parse::<u32>().is_ok()), "{group}");

    let redis = read("compose/redis.conf")
        .replace("/run/secrets/redis-users", &at("secrets/redis-users"))
        .replace("dir /data", &format!("dir {}", folder.path().display()));
    std::fs::write(at("redis.conf"), redis).expect("a file");
    let address = local(free_port());
    let server = ["redis-server", &at("redis.conf"), "--bind", "127.0.0.1", "--port", &address.port().to_string()];
    // What the compose file asks for the same purpose.
    let ask = ["redis-cli", "-p", &address.port().to_string(), "ping"];
    let answers = || Command::new(ask[0]).args(&ask[1..]).output().expect("redis-cli runs").stdout;
    let run = || {
        let mut redis = Process::spawn(Command::new(server[0]).args(&server[1..]));
        redis.wait_ready("redis", || String::from_utf8_lossy(&answers()).contains("NOAUTH"));
        redis
    };
    let mut redis = run();

    let builder = shipped("compose/gateway.toml");
    let url = text(builder.config(), "store", "redis").replace("@redis:6379", &format!("@{address}"));
    let gateway = builder
        .set("store.redis", url)
        .set("store.password_file", at("secrets/redis-password"))
        .set("upstream.url", flask().url())
        .set("server.hosts", vec!["127.0.0.1"])
        .start();
    let mut browser = gateway.browser();
    browser.log_in_to_flask("alice");
    let told = browser.request("GET", "/api/invoices").header("X-Customer-ID", "77").send().expect(200);
    assert_eq!(told.at("/believed/customer_id"), "42");
    browser.get("/api/admin/customers").expect(200);
    let mut thief = browser.clone();
    browser.post("/api/logout").expect(200);
    thief.get("/api/invoices").expect_refusal(401, "session_revoked");
    let told = gateway.admin_get("/readyz").expect(200).text();
    assert!(told.contains("\"warnings\":[]"), "{told}");

    // It comes back with all that was written, by whomever.
    let mut again = gateway.browser();
    again.log_in_to_flask("alice");
    redis.kill();
    redis = run();
    assert!(!redis.lines().iter().any(|line| line.contains("CRITICAL")), "{:?}", redis.lines());
    wait_until("redis again", || (again.get("/api/invoices").status == 200).then_some(()));
    thief.get("/api/invoices").expect_refusal(401, "session_revoked");
}

/// A folder with what `prepare` of a compose file's folder made, also when it ran before, and with somebody who may see what was
/// refused in these lists of users.
pub(crate) fn prepared(prepare: &str, lists_of_users: &[&str]) -> TempDir {
    let folder = scratch();
    for _again in 0..2 {
        assert!(Command::new(path(prepare)).arg(folder.path()).status().expect("bash runs").success());
    }
    for list in lists_of_users {
        let file = folder.path().join("secrets").join(list);
        let users = std::fs::read_to_string(&file).expect("made") + "user observer on nopass +acl|log\n";
        std::fs::write(file, users).expect("a file");
    }
    folder
}

/// Runs a service at that address by the compose file's own command, with its words as they are here, until it answers.
pub(crate) fn run_service(service: &Yaml, at: SocketAddr, here: impl Fn(&str) -> String) -> Process {
    let words: Vec<String> = list(&service["command"]).into_iter().map(here).collect();
    let mut process = Process::spawn(Command::new(&words[0]).args(&words[1..]));
    // What the compose file asks for the same purpose.
    assert!(list(&service["healthcheck"]["test"])[1].ends_with("ping | grep -q NOAUTH"));
    process.wait_ready(&at.to_string(), || command(at, &["PING"]).is_ok_and(|told| told.starts_with("-NOAUTH")));
    process
}

/// What nobody was allowed to do at the server of that address.
pub(crate) fn refused_at(address: SocketAddr) -> String {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    let ask = ["--no-auth-warning", "-h", &host, "-p", &port, "--user", "observer", "--pass", "x", "ACL", "LOG"];
    let output = Command::new("redis-cli").args(ask).output().expect("redis-cli runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Until replicas have what was done before. On a busy machine one may be late, and what it lacks is lost with its master:
/// logouts that all have came after that, enough of them for each master of a cluster.
pub(crate) fn until_replicated(gateway: &Gateway) {
    let late = || gateway.metric("revocations_unreplicated_total", "");
    wait_until("the replicas to have all of it", || {
        let before = late();
        for _ in 0..12 {
            let mut bob = gateway.browser();
            bob.log_in_to_flask("bob");
            bob.post("/api/logout").expect(200);
        }
        (late() - before < 0.5).then_some(())
    });
}

/// What holds of each compose file, in a folder below `deploy`.
pub(crate) fn agrees_with_what_it_names(folder: &str) {
    let file = compose(&format!("{folder}/compose.yaml"));
    let made = scratch();
    let prepare = path(&format!("{folder}/prepare"));
    assert!(Command::new(prepare).arg(made.path()).status().expect("bash runs").success());
    let services = &file["services"];
    for (name, service) in services.as_hash().expect("services") {
        assert_eq!(service["read_only"], Yaml::Boolean(true), "{name:?}");
        assert_eq!(list(&service["cap_drop"]), ["ALL"], "{name:?}");
        assert_eq!(list(&service["security_opt"]), ["no-new-privileges:true"], "{name:?}");
        for volume in service["volumes"].as_vec().into_iter().flatten().filter_map(Yaml::as_str) {
            let (from, _) = volume.split_once(':').expect("from:to");
            let named = !file["volumes"][from].is_badvalue();
            assert!(named || path(folder).join(from).is_file(), "{volume}");
        }
        for secret in service["secrets"].as_vec().into_iter().flatten().filter_map(Yaml::as_str) {
            let secret = made.path().join(file["secrets"][secret]["file"].as_str().expect(secret));
            let mode = std::fs::metadata(&secret).expect("made").permissions().mode() & 0o777;
            assert_eq!(mode, 0o640, "{secret:?}");
        }
        for other in service["depends_on"].as_hash().into_iter().flatten().filter_map(|(other, _)| other.as_str()) {
            assert!(!services[other]["healthcheck"].is_badvalue(), "{name:?} waits for {other}");
        }
        // Nothing but the gateway is reached from outside, and only it reaches the app.
        let is_gateway = name.as_str() == Some("gateway");
        let networks: &[&str] = if is_gateway { &["front", "behind"] } else { &["behind"] };
        let joined: Vec<&str> = match &service["networks"] {
            Yaml::Hash(each) => each.keys().filter_map(Yaml::as_str).collect(),
            names => list(names),
        };
        assert_eq!(joined, networks);
        assert_eq!(service["ports"].is_badvalue(), !is_gateway);
    }
    assert_eq!(file["networks"]["behind"]["internal"], Yaml::Boolean(true));
    let config: Table = read(&format!("{folder}/gateway.toml")).parse().expect("TOML");
    let gateway = &services["gateway"];
    let published = list(&gateway["ports"])[0];
    assert_eq!(port(published), port(text(&config, "server", "listen")));
    let grace = gateway["stop_grace_period"].as_str().expect("a duration");
    assert!(seconds(grace) > longest_stop(&config), "{grace}");
    let login = config["store"].get("sentinel").and_then(Toml::as_table);
    let files = [config["store"].get("password_file"), login.and_then(|login| login.get("password_file"))];
    let files = files.into_iter().flatten().map(|file| file.as_str().expect("a text"));
    let named: Vec<&str> = files.filter_map(|file| file.strip_prefix("/run/secrets/")).collect();
    assert_eq!(list(&gateway["secrets"]), named);
    let context = path(folder).join(services["app"]["build"]["context"].as_str().expect("a folder"));
    let app = services["app"]["build"]["dockerfile"].as_str().expect("a file");
    assert!(context.join(app).is_file() && read("compose/app.Dockerfile").contains("0.0.0.0:5059"));
}

#[test]
fn the_compose_file_agrees_with_what_it_names() {
    agrees_with_what_it_names("compose");
    let documented = read("../docs/redis.md");
    let rights = read("compose/prepare");
    let rights = rights.split('\'').find(|part| part.starts_with("+time")).expect("the rights");
    assert!(documented.contains(rights), "docs/redis.md has other rights than {rights}");
}

#[test]
fn the_kubernetes_files_agree_with_each_other() {
    let root = &yaml("kubernetes/kustomization.yaml")[0];
    for resource in list(&root["resources"]) {
        assert!(yaml(&format!("kubernetes/{resource}")).iter().all(|one| one["kind"].as_str().is_some()), "{resource}");
    }
    let deployment = &yaml("kubernetes/deployment.yaml")[0];
    let template = &deployment["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    let service = &yaml("kubernetes/service.yaml")[0];
    assert_eq!(&service["spec"]["selector"], labels);
    assert_eq!(&yaml("kubernetes/disruption-budget.yaml")[0]["spec"]["selector"]["matchLabels"], labels);
    let policies = yaml("kubernetes/network-policy.yaml");
    assert_eq!(&policies[0]["spec"]["podSelector"]["matchLabels"], labels);
    assert_eq!(&policies[1]["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"], labels);

    let config: Table = read("kubernetes/gateway.toml").parse().expect("TOML");
    let pod = &template["spec"];
    let grace = pod["terminationGracePeriodSeconds"].as_i64().expect("seconds");
    assert!(grace > longest_stop(&config), "{grace}");
    let container = &pod["containers"][0];
    for (number, section) in [(0, "server"), (1, "admin")] {
        let named = container["ports"][number]["containerPort"].as_i64().expect("a port");
        assert_eq!(named, port(text(&config, section, "listen")));
    }
    assert_eq!(container["ports"][0]["name"], service["spec"]["ports"][0]["targetPort"]);
    assert_eq!(pod["securityContext"]["runAsNonRoot"], Yaml::Boolean(true));
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], Yaml::Boolean(true));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], Yaml::Boolean(false));
    assert_eq!(list(&container["securityContext"]["capabilities"]["drop"]), ["ALL"]);
    assert_eq!(container["image"], root["images"][0]["name"]);
    assert_eq!(pod["volumes"][0]["configMap"]["name"], root["configMapGenerator"][0]["name"]);
    assert_eq!(list(&root["configMapGenerator"][0]["files"]), ["gateway.toml"]);
    let image = read("../Dockerfile");
    let mounted = |number: usize| container["volumeMounts"][number]["mountPath"].as_str().expect("a path");
    assert!(image.contains(&format!("SESSION_GATEWAY_CONFIG={}/gateway.toml", mounted(0))));
    let user = pod["securityContext"]["runAsUser"].as_i64().expect("a number");
    assert!(image.contains(&format!("USER {user}:{user}")));
    assert!(text(&config, "store", "password_file").starts_with(mounted(1)));
    assert_eq!(pod["volumes"][1]["secret"]["defaultMode"], Yaml::Integer(0o440));
    assert!(image.contains(&format!("WORKDIR {}", mounted(2))));
}

/// The gateways of a folder are those of `kubernetes` but for the store, which this answers.
fn differs_in_the_store_alone(folder: &str) -> Toml {
    let root = &yaml(&format!("{folder}/kustomization.yaml"))[0];
    assert_eq!(list(&root["resources"]), ["../kubernetes"]);
    let (ours, theirs) =
        (&root["configMapGenerator"][0], &yaml("kubernetes/kustomization.yaml")[0]["configMapGenerator"][0]);
    assert_eq!((ours["name"].as_str(), ours["behavior"].as_str()), (theirs["name"].as_str(), Some("replace")));
    assert_eq!(list(&ours["files"]), list(&theirs["files"]));
    let config = |folder: &str| -> Table { read(&format!("{folder}/gateway.toml")).parse().expect("TOML") };
    let (mut alone, mut many) = (config("kubernetes"), config(folder));
    let [one, store] = [&mut alone, &mut many].map(|config| config.remove("store").expect("a store"));
    assert_eq!(alone, many);
    assert_eq!(store["password_file"], one["password_file"]);
    store
}

/// Whom a URL logs in, at how many hosts, and what follows them.
fn around(url: &str) -> (String, usize, String) {
    let (login, rest) = url.split_once('@').expect("a login");
    let (hosts, rest) = rest.split_once('/').unwrap_or((rest, ""));
    (login.to_owned(), hosts.split(',').count(), rest.to_owned())
}

#[test]
fn the_kubernetes_files_with_sentinels_or_on_a_cluster_differ_in_the_store_alone() {
    for kind in ["sentinel", "cluster"] {
        let store = differs_in_the_store_alone(&format!("kubernetes-{kind}"));
        // It names them as the compose file does, whose gateway is run.
        let run: Table = read(&format!("compose/{kind}/gateway.toml")).parse().expect("TOML");
        assert_eq!(around(store["redis"].as_str().expect("a text")), around(text(&run, "store", "redis")));
        let user = |store: &Toml| store.get("sentinel").and_then(|login| login.get("user")).cloned();
        assert_eq!(user(&store), user(&run["store"]));
    }
}

#[test]
fn the_gateway_of_the_kubernetes_files_answers_its_probes() {
    let redis = RedisServer::start();
    let gateway = shipped("kubernetes/gateway.toml")
        .set("store.redis", redis.url())
        .without("store.password_file")
        .set("upstream.url", flask().url())
        .set("upstream.spool", Toml::Table("above = \"256KiB\"".parse().expect("TOML")))
        .start();
    let deployment = &yaml("kubernetes/deployment.yaml")[0];
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().expect("a path");
        let response = match container[probe]["httpGet"]["port"].as_str().expect("a port") {
            "http" => gateway.browser().get(path),
            _ => gateway.admin_get(path),
        };
        response.expect(200);
    }
}
