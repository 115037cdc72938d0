//! A real Prometheus: what it scrapes of a gateway, and the alerts and the dashboard of `deploy/` as it reads them.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::ports::{free_port, local};
use crate::support::process::Process;
use crate::support::{Browser, Gateway, Store, Wire, echo, gateway, scratch, wait_until};

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

fn promtool(arguments: &[&str]) {
    let output = Command::new("promtool").args(arguments).current_dir(shipped("prometheus")).output();
    let output = output.expect("promtool is missing: run scripts/setup test");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
}

/// The expressions of the dashboard, with values in the place of what Grafana fills in.
fn expressions(of: &Value, found: &mut Vec<String>) {
    match of {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|_| name == "expr") {
                    Some(text) => found.push(text.replace("$__rate_interval", "1m").replace("$instance", ".+")),
                    None => expressions(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

struct Prometheus {
    browser: Browser,
    _process: Process,
}

impl Prometheus {
    /// One that scrapes this gateway as docs/operations.md has it, with the alerts of `deploy/`.
    fn of(gateway: &Gateway) -> Self {
        let folder = scratch();
        let configuration = format!(
            "global: {{ scrape_interval: 100ms, scrape_timeout: 100ms, evaluation_interval: 100ms }}\n\
             rule_files: [\"{}\"]\n\
             scrape_configs:\n  - job_name: session-gateway\n    static_configs: [{{ targets: [\"{}\"] }}]\n",
            shipped("prometheus/session-gateway.rules.yaml").display(),
            gateway.admin_address()
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, configuration).expect("a file");
        let address = local(free_port());
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address={address}"));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        let mut process = Process::spawn(&mut command);
        process.wait_ready("prometheus", || {
            let request = format!("GET /-/ready HTTP/1.1\r\nHost: {address}\r\n\r\n");
            let asked = Wire::try_connect(address).and_then(|mut wire| {
                wire.try_send(request)?;
                wire.try_receive("GET")
            });
            asked.is_ok_and(|answer| answer.status == 200)
        });
        Self { browser: Browser::new(address), _process: process }
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.browser.clone().get(path).expect(200).json();
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// The values of an expression.
    fn ask(&self, expression: &str) -> Vec<f64> {
        let query: String = form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let data = self.get(&format!("/api/v1/query?query={query}"));
        let samples = data["result"].as_array().expect("a vector");
        let value = |sample: &Value| sample["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a number");
        samples.iter().map(value).collect()
    }
}

#[test]
fn promtool_reads_the_alerts_and_runs_their_test() {
    promtool(&["check", "rules", "session-gateway.rules.yaml"]);
    promtool(&["test", "rules", "session-gateway.rules.test.yaml"]);
}

#[test]
fn a_prometheus_scrapes_the_gateway_and_reads_every_alert_and_every_expression_of_the_dashboard() {
    let backend = echo();
    let gateway = gateway(Store::redis()).with_backend(&backend).start();
    let mut browser = gateway.logged_in("42", "7");
    browser.get("/x").expect(200);
    gateway.browser().get("/x").expect(401);
    let prometheus = Prometheus::of(&gateway);
    wait_until("a scrape", || (prometheus.ask("up{job=\"session-gateway\"}") == [1.0]).then_some(()));
    for (expression, value) in [
        ("session_gateway_store_up", 1.0),
        ("session_gateway_sessions_created_total", 1.0),
        ("sum(session_gateway_requests_total{status=\"200\"})", 2.0),
        ("sum(session_gateway_requests_total{status=\"401\"})", 1.0),
        ("histogram_quantile(1, session_gateway_request_seconds_bucket) < bool 60", 1.0),
        ("count(session_gateway_build_info)", 1.0),
    ] {
        assert_eq!(prometheus.ask(expression), [value], "{expression}");
    }
    assert_eq!(prometheus.get("/api/v1/targets")["activeTargets"][0]["lastError"], "");
    // Each has its words and its type.
    let told = prometheus.get("/api/v1/metadata");
    let told = told.as_object().expect("metrics").iter().filter(|(name, _)| name.starts_with("session_gateway_"));
    for (name, said) in told.clone() {
        assert!(said[0]["help"].as_str().is_some_and(|help| !help.is_empty()), "{name}: {said}");
        assert!(
            ["counter", "gauge", "histogram", "info"].iter().any(|kind| said[0]["type"] == *kind),
            "{name}: {said}"
        );
    }
    assert!(told.count() > 20);

    wait_until("the rules", || {
        let groups = prometheus.get("/api/v1/rules")["groups"].clone();
        let rules = groups[0]["rules"].as_array().expect("rules").clone();
        assert!(rules.len() > 10 && rules.iter().all(|rule| rule["lastError"].is_null()), "{groups}");
        rules.iter().all(|rule| rule["health"] == "ok").then_some(())
    });
    let dashboard = std::fs::read_to_string(shipped("grafana/session-gateway.json")).expect("a dashboard");
    let mut found = Vec::new();
    expressions(&serde_json::from_str(&dashboard).expect("JSON"), &mut found);
    assert!(found.len() > 20, "{found:?}");
    found.iter().for_each(|expression| drop(prometheus.ask(expression)));
    let shown =
        found.iter().filter(|expression| expression.contains("store_up") && prometheus.ask(expression) == [1.0]);
    assert_eq!(shown.count(), 1);

    assert_eq!(prometheus.get("/api/v1/alerts")["alerts"], json!([]), "nothing is wrong");
}
