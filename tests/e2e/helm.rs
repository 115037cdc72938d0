//! The chart of `deploy/helm`: rendered by a reader of Go's templates, it is the gateway of `deploy/kubernetes` with a disk
//! that lasts. No cluster and no Helm take part.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use gtmpl::{Context, FuncError, Template, Value};
use sha2::{Digest as _, Sha256};
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::RedisServer;
use crate::support::gateway::shipped;
use crate::support::{Backend as _, flask};

fn chart(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/helm/session-gateway").join(file)
}

fn yaml(file: &Path) -> Yaml {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    YamlLoader::load_from_str(&text).expect("YAML").remove(0)
}

fn value(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::String(text) | Yaml::Real(text) => Value::String(text.clone()),
        Yaml::Integer(number) => Value::from(*number),
        Yaml::Boolean(flag) => Value::Bool(*flag),
        Yaml::Array(items) => Value::Array(items.iter().map(value).collect()),
        Yaml::Hash(entries) => {
            let entry = |(key, item): (&Yaml, &Yaml)| (key.as_str().expect("a key").to_owned(), value(item));
            Value::Map(entries.iter().map(entry).collect())
        }
        _ => Value::Nil,
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Map(entries) => entries.iter().map(|(key, item)| (key.clone(), json(item))).collect(),
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Bool(flag) => (*flag).into(),
        Value::Number(number) => number.as_i64().into(),
        other => other.to_string().into(),
    }
}

fn argument(arguments: &[Value], number: usize) -> Result<&Value, FuncError> {
    arguments.get(number).ok_or_else(|| FuncError::AtLeastXArgs(String::from("it"), number + 1))
}

// What of Helm's own functions the chart uses.
fn to_json(arguments: &[Value]) -> Result<Value, FuncError> {
    Ok(Value::String(json(argument(arguments, 0)?).to_string()))
}

fn sha256sum(arguments: &[Value]) -> Result<Value, FuncError> {
    let digest = Sha256::digest(argument(arguments, 0)?.to_string());
    Ok(Value::String(digest.iter().map(|byte| format!("{byte:02x}")).collect()))
}

fn default(arguments: &[Value]) -> Result<Value, FuncError> {
    let given = argument(arguments, 1)?;
    Ok(if given.to_string().is_empty() { argument(arguments, 0)?.clone() } else { given.clone() })
}

/// All documents of a template, with the chart's own values but for what `change` changes.
fn rendered(file: &str, change: impl Fn(&mut HashMap<String, Value>)) -> Vec<Yaml> {
    let about = yaml(&chart("Chart.yaml"));
    let Value::Map(mut values) = value(&yaml(&chart("values.yaml"))) else { panic!("values are a map") };
    change(&mut values);
    let map = |entries: [(&str, Value); 1]| Value::Map(entries.map(|(key, item)| (key.to_owned(), item)).into());
    let data = HashMap::from([
        (String::from("Values"), Value::Map(values)),
        (String::from("Release"), map([("Name", Value::from("front"))])),
        (String::from("Chart"), map([("AppVersion", value(&about["appVersion"]))])),
    ]);
    let mut template = Template::default();
    template.add_funcs(&[("toJson", to_json as gtmpl::Func), ("sha256sum", sha256sum), ("default", default)]);
    template.parse(std::fs::read_to_string(chart("templates").join(file)).expect(file)).expect(file);
    let text = template.render(&Context::from(Value::Map(data))).unwrap_or_else(|error| panic!("{file}: {error}"));
    YamlLoader::load_from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}\n{text}"))
}

fn as_it_is(_: &mut HashMap<String, Value>) {}

#[test]
fn the_chart_is_the_gateway_of_the_kubernetes_files_with_a_disk_that_lasts() {
    let stateful = rendered("statefulset.yaml", as_it_is).remove(0);
    let (spec, labels) = (&stateful["spec"], &stateful["spec"]["selector"]["matchLabels"]);
    let (pod, template) = (&spec["template"]["spec"], &spec["template"]);
    assert_eq!(&template["metadata"]["labels"], labels);
    assert_eq!(labels["app.kubernetes.io/instance"].as_str(), Some("front"));

    let plain = yaml(&chart("../../kubernetes/deployment.yaml"));
    let its_pod = &plain["spec"]["template"]["spec"];
    for key in
        ["securityContext", "automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds"]
    {
        assert_eq!(pod[key], its_pod[key], "{key}");
    }
    let (container, its_container) = (&pod["containers"][0], &its_pod["containers"][0]);
    for key in ["ports", "securityContext", "startupProbe", "readinessProbe", "livenessProbe", "volumeMounts"] {
        assert_eq!(container[key], its_container[key], "{key}");
    }
    for key in ["requests", "limits"] {
        assert_eq!(container["resources"][key], its_container["resources"][key], "{key}");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(container["image"].as_str(), Some(&*format!("registry.example.com/session-gateway:{version}")));

    let claim = &spec["volumeClaimTemplates"][0];
    assert_eq!(claim["metadata"]["name"], container["volumeMounts"][2]["name"]);
    assert!(claim["spec"]["storageClassName"].is_badvalue(), "the cluster's default");
    assert_eq!(claim["spec"]["resources"]["requests"]["storage"].as_str(), Some("2Gi"));
    for service in rendered("service.yaml", as_it_is) {
        assert_eq!(&service["spec"]["selector"], labels);
    }
    assert_eq!(&rendered("disruption-budget.yaml", as_it_is)[0]["spec"]["selector"]["matchLabels"], labels);
    let policies = rendered("network-policy.yaml", as_it_is);
    assert_eq!(&policies[0]["spec"]["podSelector"]["matchLabels"], labels);
    assert_eq!(&policies[1]["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"], labels);
}

#[test]
fn another_configuration_restarts_the_pods_and_what_is_turned_off_is_not_there() {
    let checksum = |change: &dyn Fn(&mut HashMap<String, Value>)| {
        let stateful = rendered("statefulset.yaml", change).remove(0);
        stateful["spec"]["template"]["metadata"]["annotations"]["checksum/config"].as_str().expect("one").to_owned()
    };
    let other = |values: &mut HashMap<String, Value>| {
        values.insert(String::from("config"), Value::from("[server]"));
    };
    assert_ne!(checksum(&as_it_is), checksum(&other));
    let closed = |values: &mut HashMap<String, Value>| {
        values.insert(
            String::from("networkPolicy"),
            value(&YamlLoader::load_from_str("enabled: false").expect("YAML")[0]),
        );
    };
    assert!(rendered("network-policy.yaml", closed).iter().all(Yaml::is_null));
    let class = |values: &mut HashMap<String, Value>| {
        values.insert(
            String::from("state"),
            value(&YamlLoader::load_from_str("size: 9Gi\nstorageClass: fast").expect("YAML")[0]),
        );
    };
    let claim = rendered("statefulset.yaml", class).remove(0)["spec"]["volumeClaimTemplates"][0].clone();
    assert_eq!(claim["spec"]["storageClassName"].as_str(), Some("fast"));
}

#[test]
fn the_gateway_of_the_chart_serves_with_its_journal() {
    let config =
        rendered("configmap.yaml", as_it_is).remove(0)["data"]["gateway.toml"].as_str().expect("one").to_owned();
    let folder = crate::support::scratch();
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, config).expect("written");
    let redis = RedisServer::start();
    let gateway = shipped(file.to_str().expect("UTF-8"))
        .set("store.redis", redis.url())
        .set("store.journal", folder.path().join("journal.redb").display().to_string())
        .without("store.password_file")
        .set("upstream.url", flask().url())
        .without("upstream.spool")
        .start();
    gateway.browser().get("/readyz").expect(200);
    assert!(folder.path().join("journal.redb").exists());
}
