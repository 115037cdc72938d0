//! What this machine must have for a configuration: free ports, and folders that can be written.
//!
//! Nothing that is there is changed, and what is made is taken away again.

use std::fs::OpenOptions;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use super::trial::{Trial, TrialOutcome};
use crate::app::bind_advice;
use crate::audit::AuditTarget;
use crate::config::{BodyMode, Config, StoreKind};
use crate::socket::Sockets;

/// Tries ports and folders.
pub(super) fn trials(config: &Config) -> Vec<Trial> {
    let server = &config.server;
    let addresses = server.listen.iter().chain(&server.redirect_http).chain([&config.admin.listen]);
    let mut trials: Vec<Trial> = addresses
        .map(|address| Trial { what: format!("port {address}"), outcome: port(*address, server.reuse_port) })
        .collect();
    if let AuditTarget::File(path) = &config.audit.file {
        trials.push(Trial { what: format!("audit.file {}", path.display()), outcome: file(path) });
    }
    match &config.store.kind {
        StoreKind::Redis { journal: Some(path), .. } => {
            trials.push(Trial { what: format!("store.journal {}", path.display()), outcome: file(path) });
        }
        StoreKind::Embedded { path } => {
            trials.push(Trial { what: format!("store.embedded {}", path.display()), outcome: file(path) });
        }
        StoreKind::Redis { journal: None, .. } => {}
    }
    for (name, upstream) in &config.upstreams {
        if upstream.request_body == BodyMode::ContentLength {
            let folder = &upstream.spool.dir;
            let outcome = match temporary(folder) {
                Ok(()) => TrialOutcome::Fine(String::from("can be written")),
                Err(error) => TrialOutcome::Failed(format!("cannot be written: {error}; uploads would fail")),
            };
            trials.push(Trial { what: format!("spool of upstream {name} in {}", folder.display()), outcome });
        }
    }
    trials
}

fn port(address: SocketAddr, shared: bool) -> TrialOutcome {
    match Sockets::new(shared).bind(address) {
        Ok(_) => TrialOutcome::Fine(String::from("is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => TrialOutcome::Warned(String::from(
            "is in use: by a gateway that runs already, or by a supervisor for it, all is well; else \
             `ss -ltnp` names who has it",
        )),
        Err(error) => TrialOutcome::Failed(format!("{error}{}", bind_advice(address, &error))),
    }
}

/// A file that the gateway writes: it, or its folder, or the folder that would have to be made.
fn file(path: &Path) -> TrialOutcome {
    if path.exists() {
        return match OpenOptions::new().append(true).open(path) {
            Ok(_) => TrialOutcome::Fine(String::from("can be written")),
            Err(error) => TrialOutcome::Failed(format!("cannot be written: {error}; is it this user's?")),
        };
    }
    let here = Path::new(".");
    let folders = path.ancestors().skip(1).map(|folder| if folder.as_os_str().is_empty() { here } else { folder });
    let Some(folder) = folders.into_iter().find(|folder| folder.exists()) else {
        return TrialOutcome::Failed(String::from("has no folder that is there"));
    };
    match temporary(folder) {
        Ok(()) => TrialOutcome::Fine(format!("can be made in {}", folder.display())),
        Err(error) => TrialOutcome::Failed(format!(
            "cannot be made: {}: {error}; make its folder, for the user of the gateway",
            folder.display()
        )),
    }
}

fn temporary(folder: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder).map(drop)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_in_use_is_a_warning_and_one_that_this_machine_does_not_have_a_failure() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = taken.local_addr().expect("an address");
        assert!(matches!(port(address, false), TrialOutcome::Warned(why) if why.contains("in use")));
        drop(taken);
        assert!(matches!(port(address, false), TrialOutcome::Fine(_)));
        let elsewhere = "192.0.2.1:8080".parse().expect("an address");
        assert!(matches!(port(elsewhere, false), TrialOutcome::Failed(why) if why.contains("no interface")));
    }

    #[test]
    fn a_file_can_be_written_when_it_or_the_nearest_folder_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let there = folder.path().join("there");
        std::fs::write(&there, "kept").expect("a file");
        assert!(matches!(file(&there), TrialOutcome::Fine(_)));
        assert_eq!(std::fs::read_to_string(&there).expect("readable"), "kept");
        assert!(matches!(file(&folder.path().join("a/b/c")), TrialOutcome::Fine(seen) if seen.contains("can be made")));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing is left behind");
        assert!(matches!(file(&there.join("below-a-file")), TrialOutcome::Failed(_)));
        assert!(matches!(file(folder.path()), TrialOutcome::Failed(_)));
    }
}
