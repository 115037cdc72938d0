//! A relay before a Redis that can stop carrying the connection on which a gateway hears of changes, and that alone.

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
    /// Starts one before the server at `to`.
    pub fn before(to: SocketAddr) -> Self {
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
                let tracks = Arc::new(AtomicBool::new(false));
                let halves = (client.try_clone().expect("a handle"), server.try_clone().expect("a handle"));
                let (there, back) = (Carrier::new(&tracks, &stall), Carrier::new(&tracks, &stall));
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

    /// From now on nothing comes through on a connection that asked to be told of changes; it stays open.
    pub fn stall(&self) {
        self.stalled.store(true, Ordering::SeqCst);
    }

    /// It goes on, with what waited.
    pub fn go_on(&self) {
        self.stalled.store(false, Ordering::SeqCst);
    }
}

struct Carrier {
    tracks: Arc<AtomicBool>,
    stalled: Arc<AtomicBool>,
}

impl Carrier {
    fn new(tracks: &Arc<AtomicBool>, stalled: &Arc<AtomicBool>) -> Self {
        Self { tracks: tracks.clone(), stalled: stalled.clone() }
    }

    fn carry(self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = [0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..length];
            if bytes.windows(8).any(|word| word == b"TRACKING") {
                self.tracks.store(true, Ordering::SeqCst);
            }
            while self.tracks.load(Ordering::SeqCst) && self.stalled.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    }
}
