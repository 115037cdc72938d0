//! A real `redis-server`, which can be killed, frozen and started again, and a client for a look inside.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::ports::{free_port, local};
use super::process::Process;
use super::scratch;

/// A server of its own, its data in a directory that goes with it.
pub struct RedisServer {
    address: SocketAddr,
    directory: TempDir,
    process: Process,
}

impl RedisServer {
    /// Starts one that writes every command to its log, so that it survives a kill.
    pub fn start() -> Self {
        let directory = scratch();
        let address = local(free_port());
        let process = launch(address, &directory);
        Self { address, directory, process }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// For `store.redis`.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Ends it as `kill -9` does.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after a kill, with the data it had.
    pub fn start_again(&mut self) {
        self.process = launch(self.address, &self.directory);
    }

    /// A copy of the data that it has now.
    pub fn remember(&self) -> TempDir {
        let copy = scratch();
        let status =
            Command::new("cp").arg("-a").arg(self.directory.path().join("appendonlydir")).arg(copy.path()).status();
        assert!(status.expect("cp runs").success());
        copy
    }

    /// Starts it again after a kill, with data that was remembered.
    pub fn start_again_with(&mut self, older: &TempDir) {
        let own = self.directory.path().join("appendonlydir");
        std::fs::remove_dir_all(&own).expect("its data can be removed");
        std::fs::rename(older.path().join("appendonlydir"), &own).expect("both are in the folder for temporary files");
        self.start_again();
    }

    /// Stops it from answering while its connections stay open.
    pub fn freeze(&self) {
        self.process.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.process.signal(Signal::CONT);
    }

    /// Runs one command and returns the raw reply.
    pub fn command(&self, words: &[&str]) -> String {
        command(self.address, words).expect("redis answers")
    }

    /// All keys.
    pub fn keys(&self) -> Vec<String> {
        self.command(&["KEYS", "*"]).lines().filter(|line| !line.starts_with(['*', '$'])).map(str::to_owned).collect()
    }

    /// How often a command was called so far. To tell a session's lookup from the gateway's heartbeat, which the clock
    /// decides, count one that only the lookup uses.
    pub fn calls(&self, command: &str) -> u64 {
        let info = self.command(&["INFO", "commandstats"]);
        let prefix = format!("cmdstat_{}:calls=", command.to_lowercase());
        let count = info.lines().find_map(|line| line.strip_prefix(&prefix)?.split(',').next()?.parse().ok());
        count.unwrap_or(0)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.thaw();
        self.kill();
    }
}

fn launch(address: SocketAddr, directory: &TempDir) -> Process {
    let mut process = Process::spawn(
        Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no"])
            .arg("--dir")
            .arg(directory.path()),
    );
    process.wait_ready("redis-server", || command(address, &["PING"]).is_ok_and(|reply| reply == "+PONG\r\n"));
    process
}

/// Runs one command on the server there and returns the raw reply.
pub fn command(address: SocketAddr, words: &[&str]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    stream.write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let mut reply = String::new();
    reader.read_line(&mut reply)?;
    if let Some(length) = reply.strip_prefix('$').and_then(|length| length.trim().parse::<usize>().ok()) {
        let mut text = vec![0; length + 2];
        reader.read_exact(&mut text)?;
        reply = String::from_utf8_lossy(&text).into_owned();
    } else if let Some(count) = reply.strip_prefix('*').and_then(|count| count.trim().parse::<usize>().ok()) {
        for _ in 0..count * 2 {
            reader.read_line(&mut reply)?;
        }
    }
    Ok(reply)
}
