//! Whether the backends of a configuration can be reached: with TLS, where they have it, verified as for a request.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::trial::{Trial, TrialOutcome};
use crate::alerts::{self, AlertRules};
use crate::config::Config;
use crate::upstream::{PeerAddress, Trust};

/// How long connecting to a webhook may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// Connects to each process of each upstream, lets itself in at the mail server, and connects to webhooks.
pub(super) fn trials(config: &Config) -> Vec<Trial> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return vec![Trial { what: String::from("upstreams"), outcome: TrialOutcome::Failed(error.to_string()) }];
        }
    };
    let mut trials = Vec::new();
    for (name, upstream) in &config.upstreams {
        for peer in &upstream.peers {
            let trying = async {
                let late = io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
                timeout(upstream.connect_timeout, reach(peer, upstream.trust.as_ref())).await.unwrap_or(Err(late))
            };
            let outcome = outcome(runtime.block_on(trying), peer);
            trials.push(Trial { what: format!("upstream {name} at {peer}"), outcome });
        }
    }
    if let Some(alerts) = &config.alerts {
        trials.extend(runtime.block_on(of_alerts(alerts)));
    }
    trials
}

async fn of_alerts(rules: &AlertRules) -> Vec<Trial> {
    let mut trials = Vec::new();
    if let (Some(reached), Some(mail)) = (alerts::reach(rules).await, &rules.mail) {
        let outcome = match reached {
            Ok(()) if mail.server.credentials.is_some() => {
                TrialOutcome::Fine(String::from("connected, it lets its user in"))
            }
            Ok(()) => TrialOutcome::Fine(String::from("connected")),
            Err(why) => TrialOutcome::Failed(why),
        };
        trials.push(Trial { what: format!("mail server {}:{}", mail.server.host, mail.server.port), outcome });
    }
    for webhook in &rules.webhooks {
        let late = io::Error::new(io::ErrorKind::TimedOut, "connecting took too long");
        let reached = timeout(PATIENCE, reach(&webhook.peer, webhook.trust.as_ref())).await.unwrap_or(Err(late));
        trials.push(Trial { what: format!("webhook {}", webhook.queue), outcome: outcome(reached, &webhook.peer) });
    }
    trials
}

fn outcome(reached: io::Result<()>, peer: &PeerAddress) -> TrialOutcome {
    match (reached, peer) {
        (Ok(()), PeerAddress::Tls { .. }) => TrialOutcome::Fine(String::from("connected, its certificate is right")),
        (Ok(()), _) => TrialOutcome::Fine(String::from("connected")),
        (Err(error), _) => TrialOutcome::Failed(error.to_string()),
    }
}

async fn reach(peer: &PeerAddress, trust: Option<&Trust>) -> io::Result<()> {
    match peer {
        PeerAddress::Unix(path) => UnixStream::connect(path).await.map(drop),
        PeerAddress::Tcp { host, port } => TcpStream::connect((host.as_str(), *port)).await.map(drop),
        PeerAddress::Tls { host, port } => {
            let socket = TcpStream::connect((host.as_str(), *port)).await?;
            let trust = trust.ok_or_else(|| io::Error::other("nobody is trusted"))?;
            trust.connect(host, socket).await.map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn outcomes(url: &str) -> Vec<TrialOutcome> {
        let text = format!(
            "[server]\nmode = \"development\"\npublic_url = \"http://localhost:8080\"\n[upstream]\nurl = \"{url}\"\n\
             [store]\nembedded = \"s\"\n"
        );
        let config = Config::parse("t.toml", &text, &|_| None).expect("a valid configuration");
        trials(&config).into_iter().map(|trial| trial.outcome).collect()
    }

    #[test]
    fn a_peer_that_answers_is_told_from_one_that_does_not() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        assert!(matches!(&outcomes(&format!("http://{address}"))[..], [TrialOutcome::Fine(_)]));
        assert!(matches!(&outcomes("unix:/nowhere/at.all")[..], [TrialOutcome::Failed(_)]));
        drop(listener);
        assert!(matches!(&outcomes(&format!("http://{address}"))[..], [TrialOutcome::Failed(_)]));
    }
}
