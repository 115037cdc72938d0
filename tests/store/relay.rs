//! A relay before a server, by which a test cuts who may reach it: nothing comes through, and nobody is told.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What somebody says who asks to hear of changes.
const TRACKING: &[u8] = b"TRACKING";
/// Between two looks whether it is cut.
const LOOK: Duration = Duration::from_millis(5);

#[derive(Clone, PartialEq, Eq)]
enum Cut {
    Nobody,
    AllBut(Vec<IpAddr>),
}

struct Line {
    cut: Mutex<Cut>,
    /// Counts the times that it was mended: what was cut before is closed then.
    mended: AtomicU64,
    /// Whether nothing comes through where somebody hears of changes.
    news_stalled: AtomicBool,
    /// Whether what nobody asked for does not come through, while answers do.
    news_withheld: AtomicBool,
}

/// A connection that is carried.
#[derive(Clone)]
struct Carried {
    source: SocketAddr,
    line: Arc<Line>,
    mended: u64,
    /// Whether it was asked for news on it.
    has_news: Arc<AtomicBool>,
    /// Whether what is carried is answers.
    is_answers: bool,
}

/// The relay. Ends with the test's process.
pub(crate) struct Relay {
    port: u16,
    line: Arc<Line>,
}

impl Relay {
    pub(crate) fn before(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let line = Arc::new(Line {
            cut: Mutex::new(Cut::Nobody),
            mended: AtomicU64::new(0),
            news_stalled: AtomicBool::new(false),
            news_withheld: AtomicBool::new(false),
        });
        let shared = line.clone();
        thread::spawn(move || {
            while let Ok((client, source)) = listener.accept() {
                // A server that is down hangs up.
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                    stream.set_read_timeout(Some(LOOK)).unwrap();
                }
                let mended = shared.mended.load(Ordering::SeqCst);
                let carried =
                    Carried { source, line: shared.clone(), mended, has_news: Arc::default(), is_answers: false };
                let halves = (client.try_clone().unwrap(), server.try_clone().unwrap());
                for (from_stream, to_stream, is_answers) in [(client, server, false), (halves.1, halves.0, true)] {
                    let carried = Carried { is_answers, ..carried.clone() };
                    thread::spawn(move || carry(from_stream, to_stream, &carried));
                }
            }
        });
        Self { port, line }
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Nothing comes through any more.
    pub(crate) fn cut(&self) {
        self.cut_all_but(&[]);
    }

    /// Nothing comes through any more but from these.
    pub(crate) fn cut_all_but(&self, sources: &[IpAddr]) {
        *self.line.cut.lock().unwrap() = Cut::AllBut(sources.to_vec());
    }

    /// Nothing comes through any more where somebody asked to hear of changes, or does so now; it stays open. All else goes on.
    pub(crate) fn stall_news(&self) {
        self.line.news_stalled.store(true, Ordering::SeqCst);
    }

    /// What nobody asked for does not come through any more; answers do. It stays open.
    pub(crate) fn withhold_news(&self) {
        self.line.news_withheld.store(true, Ordering::SeqCst);
    }

    /// What was stalled comes through, and what was withheld, after whatever came since.
    pub(crate) fn let_news_through(&self) {
        self.line.news_stalled.store(false, Ordering::SeqCst);
        self.line.news_withheld.store(false, Ordering::SeqCst);
    }

    /// What was cut is closed, and what comes now is carried. Where nothing is cut all goes on.
    pub(crate) fn mend(&self) {
        let mut cut = self.line.cut.lock().unwrap();
        if *cut != Cut::Nobody {
            self.line.mended.fetch_add(1, Ordering::SeqCst);
            *cut = Cut::Nobody;
        }
    }
}

/// Keeps back what a server says that nobody asked for.
#[derive(Default)]
struct News {
    withheld: Vec<u8>,
    /// What has not come to its end.
    begun: Vec<u8>,
}

impl News {
    /// What is to be passed on now.
    fn sift(&mut self, came: &[u8], withheld: bool) -> Vec<u8> {
        self.begun.extend_from_slice(came);
        let mut passed = Vec::new();
        while let Some(length) = length_of(&self.begun) {
            let one: Vec<u8> = self.begun.drain(..length).collect();
            if withheld && one.starts_with(b">") { &mut self.withheld } else { &mut passed }.extend(one);
        }
        if !withheld {
            passed.append(&mut self.withheld);
        }
        passed
    }
}

/// How long the first thing is that a server says in RESP3, if it is whole.
fn length_of(said: &[u8]) -> Option<usize> {
    let end = said.windows(2).position(|bytes| bytes == b"\r\n")? + 2;
    let count = || std::str::from_utf8(&said[1..end - 2]).unwrap().parse::<i64>().unwrap();
    let parts = match said[0] {
        b'$' | b'=' | b'!' => {
            let whole = usize::try_from(count()).map_or(end, |length| end + length + 2);
            return (said.len() >= whole).then_some(whole);
        }
        b'*' | b'~' | b'>' => count(),
        b'%' => 2 * count(),
        _ => 0,
    };
    (0..parts).try_fold(end, |length, _| Some(length + length_of(&said[length..])?))
}

fn carry(mut from: TcpStream, mut to: TcpStream, Carried { source, line, mended, has_news, is_answers }: &Carried) {
    let mut news = News::default();
    let is_cut = || {
        let news_stalled = has_news.load(Ordering::SeqCst) && line.news_stalled.load(Ordering::SeqCst);
        news_stalled
            || match &*line.cut.lock().unwrap() {
                Cut::Nobody => false,
                Cut::AllBut(sources) => !sources.contains(&source.ip()),
            }
    };
    let is_over = || line.mended.load(Ordering::SeqCst) != *mended;
    let mut buffer = [0; 64 * 1024];
    loop {
        if is_over() {
            break;
        }
        if is_cut() {
            thread::sleep(LOOK);
            continue;
        }
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(_) => break,
        };
        if buffer[..length].windows(TRACKING.len()).any(|said| said == TRACKING) {
            has_news.store(true, Ordering::SeqCst);
        }
        while is_cut() && !is_over() {
            thread::sleep(LOOK);
        }
        let carried = if *is_answers && has_news.load(Ordering::SeqCst) {
            news.sift(&buffer[..length], line.news_withheld.load(Ordering::SeqCst))
        } else {
            buffer[..length].to_vec()
        };
        if is_over() || to.write_all(&carried).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
