//! Ports for what a test starts.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the kernel's ephemeral range, so that no outgoing connection takes a port between its choice and its use.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on the loopback address that nobody listens on. Never given twice in one run.
///
/// Whether somebody does is asked by connecting, never by listening: while another thread starts a process, the child
/// holds a copy of every socket until it becomes its program, and a port that was tried by listening on it is taken for
/// as long.
pub fn free_port() -> u16 {
    candidates().find(|port| TcpStream::connect(local(*port)).is_err()).expect("a port that nobody listens on")
}

/// Listens on a free port of the loopback address: for servers that live in the test itself.
pub fn listen() -> (TcpListener, SocketAddr) {
    let mut listeners = candidates().filter_map(|port| TcpListener::bind(local(port)).ok());
    let listener = listeners.next().expect("a port that nobody listens on");
    let address = listener.local_addr().expect("it is bound");
    (listener, address)
}

/// Each port once, those of other runs last.
fn candidates() -> impl Iterator<Item = u16> {
    // Test binaries that run side by side start at different places.
    let offset = u16::try_from(std::process::id() % 97).expect("below 97") * 120;
    (0..COUNT).map(move |_| FIRST + (offset + NEXT.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT)
}

/// `port` on the loopback address.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
