//! A child process that never outlives the tests, nor do the workers that it starts: stopped on drop, also by a panic;
//! killed by a watchdog should the test process itself be killed, or end with the child in a static.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::wait::poll;

/// A running program, its output collected line by line.
pub struct Process {
    child: Child,
    watchdog: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: [JoinHandle<()>; 2],
}

impl Process {
    /// Starts `command` with its output captured.
    pub fn spawn(command: &mut Command) -> Self {
        Self::spawn_with_input(command.stdin(Stdio::null()))
    }

    /// Starts `command` with its output captured, and with the standard input that it was given.
    pub fn spawn_with_input(command: &mut Command) -> Self {
        // A group of its own holds its workers too, and a Ctrl-C does not reach it: ending it is left to this type.
        let mut child = command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        // It reads from a pipe that only this process holds, so the read ends when this process does.
        let watchdog = Command::new("sh")
            .args(["-c", r#"read -r _; kill -s KILL -- "-$1" 2>/dev/null"#, "watchdog", &child.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let lines = Arc::default();
        let readers = [
            collect(child.stdout.take().expect("piped"), Arc::clone(&lines)),
            collect(child.stderr.take().expect("piped"), Arc::clone(&lines)),
        ];
        Self { child, watchdog, lines, readers }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far, standard output and standard error.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.lines).clone()
    }

    /// Everything printed by one that has ended: its last lines may still be on their way through the pipe.
    pub fn lines_to_the_end(&self) -> Vec<String> {
        let _held_open_by_a_worker =
            poll(Duration::from_secs(5), || self.readers.iter().all(JoinHandle::is_finished).then_some(()));
        self.lines()
    }

    /// Sends a signal; a process that is gone already is fine.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        let _gone_already = kill_process(pid, signal);
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Waits for its end; `None` when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        poll(limit, || self.ended())
    }

    /// Ends it and its workers at once, as `kill -9` does.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // Not reaped yet, so the number is still that of its group.
            let _gone_already = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
        let _reaped = self.child.wait();
    }

    /// Asks it to end, waits, and kills it when it does not.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        if self.wait(Duration::from_secs(3)).is_none() {
            self.kill();
        }
    }

    /// Waits until `ready` says yes; fails with the output when the process ends before, or takes too long.
    pub fn wait_ready(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        let begin = Instant::now();
        while !ready() {
            if let Some(status) = self.ended() {
                panic!("{what} ended with {status} before it was ready:\n{}", self.lines_to_the_end().join("\n"));
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{what} is not ready:\n{}", self.lines().join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.stop();
        }
        // After the child, and before its pipe closes: a reused process id is never killed.
        let _gone_already = self.watchdog.kill();
        let _reaped = self.watchdog.wait();
    }
}

fn collect(from: impl Read + Send + 'static, into: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            lock(&into).push(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
            line.clear();
        }
    })
}

/// Locks, also after a panic of another test.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
