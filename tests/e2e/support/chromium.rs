//! A real browser, driven by the WebDriver protocol, of which a few calls are enough.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::Wire;
use super::ports::{free_port, local};
use super::process::Process;
use super::scratch;

/// A browser takes its time to start on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A headless Chromium with a profile of its own.
pub struct Chromium {
    driver: SocketAddr,
    session: String,
    wanted: Value,
    _process: Process,
    _profile: TempDir,
}

/// Says that a test is skipped, and why; a failure where it must not be.
///
/// # Panics
/// When `SESSION_GATEWAY_TEST_CHROMIUM` is set, as in CI.
pub fn skip(why: &str) {
    let hint = "scripts/setup browser && cargo test --test e2e -- chromium front";
    assert!(std::env::var_os("SESSION_GATEWAY_TEST_CHROMIUM").is_none(), "{why}: {hint}");
    // Past the capture of a test's output: what was not tested must be seen.
    let line = format!("SKIPPED: {why}. To run this test: {hint}\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}

impl Chromium {
    /// The key that goes to the next thing.
    pub const TAB: char = '\u{e004}';
    /// The key that sends a form, follows a link.
    pub const ENTER: char = '\u{e007}';

    /// Starts one. Where there is none, says so on standard error, unless it is asked for to be there.
    pub fn start() -> Option<Self> {
        let (Some(driver), Some(browser)) = (find("chromedriver"), find("chromium")) else {
            skip("there is no chromium with its chromedriver here");
            return None;
        };
        let (address, profile) = (local(free_port()), scratch());
        let mut process =
            Process::spawn(Command::new(driver).arg(format!("--port={}", address.port())).env("HOME", profile.path()));
        process.wait_ready("chromedriver", || Wire::try_connect(address).is_ok());
        let folder = format!("--user-data-dir={}", profile.path().join("profile").display());
        let arguments = [
            "--headless",
            // It needs privileges that a container may not have, and the only pages are our own.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &folder,
        ];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {"binary": browser, "args": arguments},
        }}});
        let session = begin(address, &wanted);
        Some(Self { driver: address, session, wanted, _process: process, _profile: profile })
    }

    /// Closes it, and starts it again with the same profile.
    pub fn restart(&mut self) {
        self.call("DELETE", "", &Value::Null);
        self.session = begin(self.driver, &self.wanted);
    }

    /// The tab that is in front.
    pub fn tab(&self) -> String {
        self.call("GET", "/window", &Value::Null).as_str().expect("a handle").to_owned()
    }

    /// Opens another tab, and has it in front.
    pub fn open_tab(&mut self) {
        let made = self.call("POST", "/window/new", &json!({"type": "tab"}));
        self.go_to_tab(made["handle"].as_str().expect("a handle"));
    }

    /// Has this tab in front.
    pub fn go_to_tab(&mut self, handle: &str) {
        self.call("POST", "/window", &json!({ "handle": handle }));
    }

    /// Goes back, as the button does.
    pub fn back(&self) {
        self.call("POST", "/back", &json!({}));
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        call(self.driver, method, &format!("/session/{}{path}", self.session), body)
    }

    /// Opens a page, as typing its address does.
    pub fn open(&self, url: &str) {
        self.call("POST", "/url", &json!({ "url": url }));
    }

    /// The address of the page.
    pub fn url(&self) -> String {
        self.call("GET", "/url", &Value::Null).as_str().expect("an address").to_owned()
    }

    /// The cookies of the page's site, also those that no script sees.
    pub fn cookies(&self) -> Vec<Value> {
        self.call("GET", "/cookie", &Value::Null).as_array().expect("a list").clone()
    }

    /// Makes the page so wide and high, as on a phone for instance, with light or dark colours as its user wants them.
    pub fn show_at(&self, width: u32, height: u32, dark: bool) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.develop("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.develop("Emulation.setEmulatedMedia", &features);
    }

    /// Presses keys one after the other, as on a keyboard: characters, [`Self::TAB`] and [`Self::ENTER`].
    pub fn press(&self, keys: &str) {
        let press = |key: char| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let presses: Vec<Value> = keys.chars().flat_map(press).collect();
        let keyboard = json!({"actions": [{"type": "key", "id": "keyboard", "actions": presses}]});
        self.call("POST", "/actions", &keyboard);
    }

    /// Has the page's element of this selector clicked, as a mouse or a finger does.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let element = self.call("POST", "/element", &json!({"using": "css selector", "value": selector}));
        let id = element.as_object().and_then(|object| object.values().next()?.as_str()).expect("an element");
        self.call("POST", &format!("/element/{id}/click"), &json!({}));
    }

    /// What a screen reader is told of the page: role and name of each thing that is there, in their order.
    pub fn read_aloud(&self) -> Vec<(String, String)> {
        let tree = self.develop("Accessibility.getFullAXTree", &json!({}));
        let nodes = tree["nodes"].as_array().expect("nodes").iter().filter(|node| node["ignored"] == false);
        let text = |node: &Value, what: &str| node[what]["value"].as_str().unwrap_or_default().to_owned();
        nodes.map(|node| (text(node, "role"), text(node, "name"))).collect()
    }

    /// What of the page is to be seen, as PNG.
    pub fn picture(&self) -> Vec<u8> {
        let encoded = self.call("GET", "/screenshot", &Value::Null);
        BASE64.decode(encoded.as_str().expect("a picture")).expect("base64")
    }

    /// A command of the protocol for developers, of which the driver passes some on.
    fn develop(&self, command: &str, parameters: &Value) -> Value {
        self.call("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Runs the body of an async function in the page and returns its value. `until(condition)` waits there.
    #[track_caller]
    pub fn run(&self, body: &str) -> Value {
        let until = "const until = async (ask) => { for (let n = 0; n < 1000; n += 1) { \
                     const got = await ask(); if (got) return got; \
                     await new Promise((go) => setTimeout(go, 20)); } throw new Error(`in vain: ${ask}`); };";
        let script = format!("return (async () => {{ {until} {body} }})()");
        self.call("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        // The driver would leave the browser behind.
        if let Ok(mut wire) = Wire::try_connect(self.driver) {
            let request = request(self.driver, "DELETE", &format!("/session/{}", self.session), &Value::Null);
            let _gone_already = wire.try_send(request).and_then(|()| wire.try_receive("DELETE"));
        }
    }
}

fn begin(driver: SocketAddr, wanted: &Value) -> String {
    let made = call(driver, "POST", "/session", wanted);
    made["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {made}")).to_owned()
}

fn request(driver: SocketAddr, method: &str, path: &str, body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    format!("{method} {path} HTTP/1.1\r\nHost: {driver}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[track_caller]
fn call(driver: SocketAddr, method: &str, path: &str, body: &Value) -> Value {
    let mut wire = Wire::connect(driver);
    wire.patience(PATIENCE).send(request(driver, method, path, body));
    let response = wire.receive();
    assert_eq!(response.status, 200, "{method} {path} {body}: {}", response.text());
    response.json()["value"].clone()
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists())
}
