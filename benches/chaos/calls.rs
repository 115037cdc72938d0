//! The gateways, and what is asked of them.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;

use crate::backend;
use crate::client::{Connection, Transport};
use crate::gateway::{Gateway, free_port};
use crate::model::{At, IDLE, Model};
use crate::stage::Stage;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Where one listens: for clients, and for operators.
#[derive(Clone, Copy)]
pub struct Address {
    pub clients: SocketAddr,
    pub operators: SocketAddr,
}

pub struct Fleet {
    pub gateways: Vec<Gateway>,
    pub addresses: Arc<[Address]>,
}

pub async fn start_gateways(count: usize, stage: &mut impl Stage) -> Fleet {
    let backend = backend::start().await;
    let (mut gateways, mut addresses) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let operators = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let store = stage.store_of_another_gateway();
        let gateway = Gateway::start(&format!(
            "[server]\nmode = \"development\"\nlisten = \"127.0.0.1:{{port}}\"\n\
             public_url = \"http://app.test\"\nhosts = [\"*\"]\n\
             [upstream]\nurl = \"http://{backend}\"\n\
             [store]\njournal = \"{{dir}}/journal.redb\"\n{store}\n\
             [cookie]\nname = \"session-gateway\"\n[session]\nidle = \"{}s\"\n\
             [login]\npath = \"/api/login\"\ntenant = [\"/customer_id\"]\nuser = [\"/user_id\"]\n\
             [admin]\nlisten = \"{operators}\"\ntoken = \"{TOKEN}\"\n[audit]\nfile = \"{{dir}}/audit.jsonl\"\n\
             [telemetry]\nlevel = \"info\"\n",
            IDLE.as_secs()
        ))
        .await;
        addresses.push(Address { clients: gateway.address, operators });
        gateways.push(gateway);
    }
    Fleet { gateways, addresses: addresses.into() }
}

/// What came back, and when.
pub struct Told {
    pub began: At,
    pub answered: At,
    /// None: no answer, so nobody knows.
    pub status: u16,
    pub cookie: Option<String>,
    pub text: String,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub fn code(&self) -> String {
        self.json()["error_code"].as_str().unwrap_or_default().to_owned()
    }

    /// Of a call that ends something.
    pub fn is_replicated(&self) -> bool {
        self.json().get("replicated").is_none()
    }
}

/// A connection to each gateway, made when it is needed.
pub struct Lines {
    model: Arc<Model>,
    addresses: Arc<[Address]>,
    clients: Vec<Option<Connection>>,
    operators: Vec<Option<Connection>>,
}

impl Lines {
    pub fn new(model: Arc<Model>, addresses: Arc<[Address]>) -> Self {
        let none = || addresses.iter().map(|_| None).collect();
        Self { model, clients: none(), operators: none(), addresses }
    }

    pub fn count(&self) -> usize {
        self.addresses.len()
    }

    pub async fn ask(&mut self, gateway: usize, what: &'static str, line: &str, cookie: &str) -> Told {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: app.test\r\nOrigin: http://app.test\r\nContent-Length: 0\r\nCookie: {cookie}\r\n\r\n"
        );
        let address = self.addresses[gateway].clients;
        send(&self.model, &mut self.clients[gateway], address, what, &request).await
    }

    pub async fn operate(&mut self, gateway: usize, what: &'static str, line: &str, body: &str) -> Told {
        let address = self.addresses[gateway].operators;
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        send(&self.model, &mut self.operators[gateway], address, what, &request).await
    }
}

async fn send(
    model: &Model,
    line: &mut Option<Connection>,
    address: SocketAddr,
    what: &'static str,
    request: &str,
) -> Told {
    let began = model.now();
    if line.is_none() {
        *line = Connection::open(address, &Transport::Plain).await.ok();
    }
    let answer = match line {
        Some(connection) => connection.send(request).await.ok(),
        None => None,
    };
    let answered = model.now();
    if answer.as_ref().is_none_or(|answer| answer.closes) {
        *line = None;
    }
    let (status, cookie, body) =
        answer.map_or((0, None, Vec::new()), |answer| (answer.status, answer.cookie, answer.body));
    *model.known().counts.calls.entry((what, status)).or_default() += 1;
    Told { began, answered, status, cookie, text: String::from_utf8_lossy(&body).into_owned() }
}
