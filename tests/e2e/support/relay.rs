//! A relay before a Redis that can stop carrying the connection on which a gateway hears of changes, and that alone; or
//! what says some words.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::ports::local;

/// The relay. Ends with the test's process.
pub struct Relay {
    address: SocketAddr,
    stalled: Arc<AtomicBool>,
}

impl Relay {
    /// Starts one before the server at `to`, which can stop carrying a connection for news.
    pub fn before(to: SocketAddr) -> Self {
        Self::start(to, b"TRACKING", true)
    }

    /// Starts one that can stop carrying what says these words, and what comes after it.
    pub fn of_words(to: SocketAddr, words: &'static [u8]) -> Self {
        Self::start(to, words, false)
    }

    fn start(to: SocketAddr, words: &'static [u8], for_good: bool) -> Self {
        let listener = TcpListener::bind(local(0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let stalled = Arc::new(AtomicBool::new(false));
        let stall = stalled.clone();
        thread::spawn(move || {
            while let Ok((client, _)) = listener.accept() {
                let Ok(server) = TcpStream::connect(to) else { continue };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).expect("a TCP connection");
                }
                let said = Arc::new(AtomicBool::new(false));
                let halves = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                let [there, back] =
                    [(); 2].map(|()| Carrier { words, for_good, said: said.clone(), stalled: stall.clone() });
                thread::spawn(move || there.carry(client, server));
                thread::spawn(move || back.carry(halves.1, halves.0));
            }
        });
        Self { address, stalled }
    }

    /// For `store.redis`.
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// From now on nothing comes through on a connection that asked to be told of changes, or nothing that says the words;
    /// it stays open.
    pub fn stall(&self) {
        self.stalled.store(true, Ordering::SeqCst);
    }

    /// It goes on, with what waited.
    pub fn go_on(&self) {
        self.stalled.store(false, Ordering::SeqCst);
    }
}

struct Carrier {
    words: &'static [u8],
    /// Whether a connection on which they were said is stalled from then on, in both directions.
    for_good: bool,
    said: Arc<AtomicBool>,
    stalled: Arc<AtomicBool>,
}

impl Carrier {
    fn carry(self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..length];
            let says = bytes.windows(self.words.len()).any(|said| said == self.words);
            if says {
                self.said.store(true, Ordering::SeqCst);
            }
            let concerned = || says || (self.for_good && self.said.load(Ordering::SeqCst));
            while concerned() && self.stalled.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
}
