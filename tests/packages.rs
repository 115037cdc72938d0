//! What `make dist` hands out: complete, and a Debian package that leaves nothing behind.

#![expect(clippy::expect_used, reason = "a test fails by panicking, also in its helpers")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {said}");
    said
}

/// The one file of that ending in a folder.
fn the(folder: &Path, ending: &str) -> PathBuf {
    let mut found = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    found.find(|path| path.to_string_lossy().ends_with(ending)).expect(ending)
}

/// Every file below a folder, but for dpkg's own.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        } else if !path.starts_with(folder.join("var/lib/dpkg")) {
            found.push(path);
        }
    }
    found
}

#[test]
fn what_is_handed_out_is_whole_and_a_purge_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let dist = folder.path().join("dist");
    done(
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/dist"))
            .arg(env!("CARGO_BIN_EXE_session-gateway"))
            .arg(&dist)
            .env("DPKG_DEB_COMPRESSOR_TYPE", "none"),
    );
    done(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&dist));

    let listed = done(Command::new("tar").arg("-tf").arg(the(&dist, ".tar.gz")));
    for part in [
        "/session-gateway\n",
        "/LICENSE\n",
        "/THIRD-PARTY-LICENCES\n",
        "/sbom.cdx.json\n",
        "/config/gateway.schema.json\n",
        "/deploy/systemd/session-gateway.socket\n",
        "/man/session-gateway-check.1\n",
        "/completions/session-gateway.bash\n",
        "/docs/troubleshooting.md\n",
    ] {
        assert!(listed.contains(part), "{part:?} in {listed}");
    }
    let bom = fs::read(the(&dist, ".cdx.json")).expect("readable");
    let bom: serde_json::Value = serde_json::from_slice(&bom).expect("JSON");
    let components = bom["components"].as_array().expect("a list");
    let named = |name: &str| components.iter().any(|component| component["name"] == name);
    assert!(named("hyper") && named("rustls") && !named("proptest"), "what is in the binary, and no more");
    assert!(components.iter().all(|component| component["hashes"][0]["content"].is_string()), "{bom:#}");

    if Command::new("dpkg").arg("--version").output().is_err() {
        return;
    }
    let root = folder.path().join("root");
    for part in ["updates", "info", "triggers"] {
        fs::create_dir_all(root.join("var/lib/dpkg").join(part)).expect("a folder");
    }
    fs::write(root.join("var/lib/dpkg/status"), "").expect("written");
    let dpkg = || {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg(format!("--root={}", root.display())).args([
            "--force-not-root",
            "--force-script-chrootless",
            "--force-depends",
        ]);
        dpkg
    };
    done(dpkg().arg("-i").arg(the(&dist, ".deb")));
    let configuration = root.join("etc/session-gateway/gateway.toml");
    let checked =
        done(Command::new(root.join("usr/bin/session-gateway")).arg("check").arg("--config").arg(&configuration));
    assert!(checked.contains(": ok"), "{checked}");
    let unit = fs::read_to_string(root.join("lib/systemd/system/session-gateway.service")).expect("the unit");
    assert!(unit.contains("ExecStart=/usr/bin/session-gateway serve"), "{unit}");
    let state = root.join("var/lib/private/session-gateway/data");
    fs::create_dir_all(&state).expect("a folder");
    fs::write(state.join("audit.jsonl"), "{}\n").expect("written");
    done(dpkg().args(["--remove", "session-gateway"]));
    assert!(configuration.exists() && state.join("audit.jsonl").exists(), "to remove is not to purge");
    done(dpkg().args(["--purge", "session-gateway"]));
    assert_eq!(files(&root), Vec::<PathBuf>::new());
}
