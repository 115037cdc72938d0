//! The log: what the program says of itself, and the access lines.
//!
//! It goes to standard error, as is the custom of servers that may have data of their own on standard output (here: the
//! audit log). Lines pass through a bounded queue to a thread of its own, so that a blocked pipe never stops traffic;
//! what does not fit is counted, and the count is logged when there is room again. Each line is ASCII: a value that a
//! client sent can neither start a new line nor steer a terminal.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::access::AccessLine;
use super::metrics::Metrics;
use crate::clock::SharedClock;
use crate::json_line::{JsonLine, append, escape};
use crate::queue::{Queue, Urgency};

/// How many bytes of lines may wait.
const MOST_WAITING: usize = 8 * 1024 * 1024;
/// The longest line; a longer one is dropped and counted.
const LONGEST_LINE: usize = 64 * 1024;
/// How long lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(10);
const IDLE: Duration = Duration::from_secs(3600);
/// The targets of the program's own lines.
const OWN: &str = "session_gateway";

/// How lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// What is logged: lines of this level and those more severe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What needs an operator.
    Error,
    /// What may need one soon.
    Warn,
    /// What happens, requests included.
    #[default]
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    const ALL: [(&'static str, Self); 6] = [
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    const fn filter(self) -> LevelFilter {
        match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        }
    }
}

/// No level of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a log level: off, error, warn, info, debug or trace")]
pub struct UnknownLevel;

impl FromStr for LogLevel {
    type Err = UnknownLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        Self::ALL.into_iter().find_map(|(name, level)| (name == text).then_some(level)).ok_or(UnknownLevel)
    }
}

/// How to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged.
    pub level: LogLevel,
}

/// The log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The writer.
    #[error("the log writer's thread cannot be started: {0}")]
    Thread(#[from] io::Error),
    /// The program already logs.
    #[error("the log was already started")]
    Twice,
}

/// The log at work. Clones write to the same place.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Queue<Vec<u8>>,
    settings: LogSettings,
    clock: SharedClock,
    dropped: Counter,
    unsaid_drops: AtomicU64,
}

impl fmt::Debug for Log {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Log").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Log {
    /// Starts the program's log on standard error; `tracing` events, panics and access lines go there from now on.
    ///
    /// # Errors
    /// When a log was already started in this process, or the writer's thread cannot be.
    pub fn init(settings: LogSettings, clock: SharedClock, metrics: &Metrics) -> Result<Self, LogError> {
        let log = Self::start(settings, clock, metrics, io::stderr())?;
        tracing::subscriber::set_global_default(log.subscriber()).map_err(|_| LogError::Twice)?;
        std::panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string);
            tracing::error!(location, message = panic.payload_as_str().unwrap_or("panic without a message"));
        }));
        Ok(log)
    }

    /// A log that writes to `sink` and is not the program's.
    ///
    /// # Errors
    /// When the writer's thread cannot be started.
    pub fn start(
        settings: LogSettings,
        clock: SharedClock,
        metrics: &Metrics,
        sink: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let dropped = metrics.log_lines_dropped();
        let queue = Queue::new(MOST_WAITING);
        let shared = Arc::new(Shared { queue, settings, clock, dropped, unsaid_drops: AtomicU64::new(0) });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new().name("log".into()).spawn(move || writer.write_to(sink))?;
        Ok(Self { shared })
    }

    /// The subscriber that sends `tracing` events here.
    ///
    /// The level holds for the program's own events. Libraries are never asked for more than `info`: below that, some
    /// print what they carry, and they carry tokens.
    pub fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        let level = self.shared.settings.level.filter();
        let filter = Targets::new().with_default(level.min(LevelFilter::INFO)).with_target(OWN, level);
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_timer(WallClock(Arc::clone(&self.shared.clock)))
            .with_writer(self.clone());
        let lines = match self.shared.settings.format {
            LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
            LogFormat::Text => lines.boxed(),
        };
        tracing_subscriber::registry().with(lines.with_filter(filter))
    }

    /// Whether requests' lines are written: they are of level `info`. To be asked before one is put together.
    #[must_use]
    pub fn has_access_lines(&self) -> bool {
        self.shared.settings.level.filter() >= LevelFilter::INFO
    }

    /// Writes a request's line, at level `info`. Never waits.
    pub fn access(&self, line: &AccessLine<'_>) {
        if !self.has_access_lines() {
            return;
        }
        let mut out = Vec::with_capacity(512);
        let now = self.shared.clock.wall();
        match self.shared.settings.format {
            LogFormat::Json => line.write_json(now, &mut out),
            LogFormat::Text => line.write_text(now, &mut out),
        }
        self.shared.push(out);
    }

    /// Writes what waits and ends the writer. Blocks, for at most `within`; answers whether all was written by then.
    /// Later lines are lost. For the very end of the program.
    #[must_use]
    pub fn shutdown(&self, within: Duration) -> bool {
        self.shared.queue.close();
        self.shared.queue.wait_finished(within)
    }
}

impl Shared {
    fn push(&self, line: Vec<u8>) {
        let length = line.len();
        if length > LONGEST_LINE || self.queue.push(line, length, Urgency::Batched).is_err() {
            self.count_drops(1);
        }
    }

    fn count_drops(&self, lines: u64) {
        self.dropped.inc_by(lines);
        self.unsaid_drops.fetch_add(lines, Ordering::Relaxed);
    }

    fn write_to(&self, mut sink: impl Write) {
        let mut lines = Vec::new();
        let mut batch = Vec::new();
        loop {
            let open = self.queue.take(&mut lines, IDLE);
            let dropped = self.unsaid_drops.swap(0, Ordering::Relaxed);
            batch.clear();
            for line in &lines {
                batch.extend_from_slice(line);
            }
            if dropped > 0 {
                self.write_drops(dropped, &mut batch);
            }
            if sink.write_all(&batch).and_then(|()| sink.flush()).is_err() {
                // Nobody can be told now; the metric and, should the sink recover, the next batch will.
                let lost = u64::try_from(lines.len()).unwrap_or(u64::MAX);
                self.count_drops(lost);
                self.unsaid_drops.fetch_add(dropped, Ordering::Relaxed);
            }
            batch.shrink_to(1024 * 1024);
            if !open {
                break;
            }
            self.queue.gather(GATHER);
        }
        self.queue.finish();
    }

    fn write_drops(&self, dropped: u64, out: &mut Vec<u8>) {
        let now = self.clock.wall().rfc3339();
        let message = "log lines were lost: they came faster than they could be written";
        match self.settings.format {
            LogFormat::Json => {
                let mut line = JsonLine::open(out);
                line.text("timestamp", &now);
                line.text("level", Level::WARN.as_str());
                line.text("message", message);
                line.number("dropped", dropped);
                line.text("target", module_path!());
                line.close();
            }
            LogFormat::Text => {
                append(out, format_args!("{now}  WARN {}: {message} dropped={dropped}\n", module_path!()));
            }
        }
    }
}

struct WallClock(SharedClock);

impl FormatTime for WallClock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.write_str(&self.0.wall().rfc3339())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = EventWriter<'a>;

    fn make_writer(&'a self) -> EventWriter<'a> {
        EventWriter(&self.shared)
    }
}

/// Takes one `tracing` event, which comes in one piece.
#[derive(Clone, Copy)]
pub struct EventWriter<'a>(&'a Shared);

impl fmt::Debug for EventWriter<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("EventWriter")
    }
}

impl Write for EventWriter<'_> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.push(one_line(event));
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An event as one line of ASCII. In JSON what is escaped here can only stand within a string, where `\uXXXX` means
/// the same.
fn one_line(event: &[u8]) -> Vec<u8> {
    let event = event.strip_suffix(b"\n").unwrap_or(event);
    let mut line = Vec::with_capacity(event.len() + 1);
    for character in String::from_utf8_lossy(event).chars() {
        match u8::try_from(character) {
            Ok(byte @ b' '..=b'~') => line.push(byte),
            _ => escape(&mut line, character),
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use parking_lot::{Condvar, Mutex};

    use super::*;
    use crate::clock::{ManualClock, WallTime};

    const LONG: Duration = Duration::from_secs(60);

    /// A sink that can be read, and blocked like a pipe that nobody empties.
    #[derive(Clone, Default)]
    struct Sink(Arc<(Mutex<Written>, Condvar)>);

    #[derive(Default)]
    struct Written {
        bytes: Vec<u8>,
        blocked: bool,
    }

    impl Sink {
        fn block(&self, blocked: bool) {
            self.0.0.lock().blocked = blocked;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.0.0.lock().bytes.clone()).expect("ASCII")
        }
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.0.0.lock();
            self.0.1.wait_while(&mut written, |written| written.blocked);
            written.bytes.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start(format: LogFormat, level: LogLevel) -> (Log, Sink, Metrics) {
        let clock = Arc::new(ManualClock::starting_at(WallTime::from_micros(1_700_000_000_000_000)));
        let (sink, metrics) = (Sink::default(), Metrics::new());
        let log = Log::start(LogSettings { format, level }, clock, &metrics, sink.clone()).expect("starts");
        (log, sink, metrics)
    }

    fn logged(format: LogFormat, level: LogLevel, events: impl FnOnce()) -> String {
        let (log, sink, _) = start(format, level);
        tracing::subscriber::with_default(log.subscriber(), events);
        assert!(log.shutdown(LONG));
        sink.text()
    }

    fn access_line<'a>() -> AccessLine<'a> {
        AccessLine {
            request_id: "r",
            method: "GET",
            route: "/",
            path: "/",
            status: 200,
            tenant: None,
            user: None,
            session_id: None,
            address: None,
            host: None,
            user_agent: None,
            protocol: "HTTP/1.1",
            trace_id: None,
            duration: Duration::ZERO,
            upstream: None,
            added: None,
            bytes_received: 0,
            bytes_sent: 0,
            complete: true,
            code: None,
        }
    }

    #[test]
    fn an_event_is_one_json_object_with_flat_fields() {
        let text = logged(LogFormat::Json, LogLevel::Info, || tracing::warn!(port = 8080, "in use"));
        let read: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["timestamp"], "2023-11-14T22:13:20.000Z");
        assert_eq!(read["level"], "WARN");
        assert_eq!(read["message"], "in use");
        assert_eq!(read["port"], 8080);
        assert_eq!(read["target"], module_path!());
    }

    #[test]
    fn a_hostile_value_stays_one_ascii_line() {
        for hostile in ["a\r\nb", "\u{1b}[2J\u{7f}", "\u{2028}\u{85}", "\"} {\"", "\\u000a", "😀", "\0"] {
            let json = logged(LogFormat::Json, LogLevel::Info, || tracing::info!(hostile, ?hostile, "{hostile}"));
            let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            assert_eq!(read["message"], hostile);
            let text = logged(LogFormat::Text, LogLevel::Info, || tracing::info!(hostile, ?hostile, "{hostile}"));
            for shown in [json, text] {
                assert_eq!(shown.matches('\n').count(), 1, "{shown:?}");
                assert!(shown.trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{shown:?}");
            }
        }
        assert_eq!(one_line(b"a\xff\nb\n"), b"a\\ufffd\\u000ab\n");
    }

    #[test]
    fn the_level_holds_for_our_own_events_and_libraries_never_say_more_than_info() {
        let events = || {
            tracing::debug!("own debug");
            tracing::info!("own info");
            tracing::debug!(target: "hyper::proto", "library debug");
            tracing::info!(target: "hyper::proto", "library info");
            tracing::error!(target: "hyper::proto", "library error");
        };
        for (level, expected) in [
            (LogLevel::Off, &[][..]),
            (LogLevel::Error, &["library error"]),
            (LogLevel::Info, &["own info", "library info", "library error"]),
            (LogLevel::Trace, &["own debug", "own info", "library info", "library error"]),
        ] {
            let text = logged(LogFormat::Json, level, events);
            let messages: Vec<String> = text
                .lines()
                .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
                .map(|line| line["message"].as_str().expect("a message").to_owned())
                .collect();
            assert_eq!(messages, expected, "{level:?}");
        }
    }

    #[test]
    fn access_lines_are_of_level_info() {
        for (level, lines) in [(LogLevel::Warn, 0), (LogLevel::Info, 1), (LogLevel::Debug, 1)] {
            let (log, sink, _) = start(LogFormat::Json, level);
            log.access(&access_line());
            assert!(log.shutdown(LONG));
            assert_eq!(sink.text().lines().count(), lines, "{level:?}");
        }
    }

    #[test]
    fn a_blocked_pipe_stops_nobody_and_what_it_cost_is_said_afterwards() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let (log, sink, metrics) = start(format, LogLevel::Info);
            sink.block(true);
            let long = "x".repeat(2000);
            // More than waits in the queue and in the writer's hands together.
            for _ in 0..2 * (MOST_WAITING / 2000) + 1000 {
                log.access(&AccessLine { path: &long, ..access_line() });
            }
            assert!(!log.shutdown(Duration::ZERO), "a blocked pipe does not hang the end either");
            assert!(!metrics.encode().contains("session_gateway_log_lines_dropped_total 0\n"));
            sink.block(false);
            assert!(log.shutdown(LONG));
            let text = sink.text();
            let last = text.lines().last().expect("a line");
            assert!(last.contains("log lines were lost") && last.contains("dropped"), "{last}");
            assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn a_line_too_long_for_any_reader_is_counted_and_not_written() {
        let (log, sink, metrics) = start(LogFormat::Json, LogLevel::Info);
        let long = "x".repeat(LONGEST_LINE + 1);
        tracing::subscriber::with_default(log.subscriber(), || tracing::info!("{long}"));
        assert!(log.shutdown(LONG));
        assert!(!sink.text().contains("xxx"));
        assert!(metrics.encode().contains("session_gateway_log_lines_dropped_total 1\n"));
    }

    #[test]
    fn levels_are_read_by_their_names() {
        assert_eq!("warn".parse(), Ok(LogLevel::Warn));
        assert_eq!("WARN".parse::<LogLevel>(), Err(UnknownLevel));
        assert_eq!("".parse::<LogLevel>(), Err(UnknownLevel));
    }
}
