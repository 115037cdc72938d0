//! The walk of a new operator (docs/walk.md): every command of the page, in its order, and what the page says that they print.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::gateway::binary;
use crate::support::ports::{free_port, local};
use crate::support::{Backend as _, RedisServer, flask, scratch};

/// The blocks of a page in this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let begin = format!("```{language}\n");
    page.split(&begin).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// Whether a line is as the page has it, with anything in the place of each `…`.
fn fits(line: &str, shown: &str) -> bool {
    let mut rest = line.trim();
    let (mut first, open_end) = (true, shown.ends_with('…'));
    for piece in shown.split('…').map(str::trim) {
        let Some(at) = rest.find(piece) else { return false };
        if first && !piece.is_empty() && at > 0 {
            return false;
        }
        (rest, first) = (&rest[at + piece.len()..], false);
    }
    open_end || rest.is_empty()
}

#[test]
fn a_new_operator_comes_to_a_gateway_with_https_redis_and_revocations_by_the_page_alone() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/walk.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (redis, folder, [site, admin]) = (RedisServer::start(), scratch(), [(); 2].map(|()| free_port()));
    // Its ports may be taken here.
    let here = |text: &str| {
        let app = flask().url();
        text.replace("-h 127.0.0.1 -p 6379", &format!("-u {}", redis.url().trim_end_matches("/0")))
            .replace("127.0.0.1:6379", redis.url().trim_start_matches("redis://").trim_end_matches("/0"))
            .replace("http://127.0.0.1:5059", &app)
            .replace("8443", &site.to_string())
            .replace("127.0.0.1:9090", &local(admin).to_string())
    };
    let steps: String = blocks(&page, "sh").iter().map(|block| here(block)).collect();
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{steps}");
    std::os::unix::fs::symlink(binary(), folder.path().join("session-gateway")).expect("a link");
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").expect("a path"));
    let began = Instant::now();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .expect("bash starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{complaints}");
    let mut lines = said.lines();
    for shown in blocks(&page, "text").iter().flat_map(|block| block.lines()) {
        let shown = here(shown);
        assert!(lines.any(|line| fits(line, &shown)), "not in its place: {shown}\n{said}\n{complaints}");
    }
    assert!(began.elapsed() < Duration::from_secs(120), "the machine's part of ten minutes: {:?}", began.elapsed());
}
