//! Listening sockets: opened here or inherited, shared with another process or not, and closed without losing a
//! connection that waits.
//!
//! A restart must not refuse or reset anyone. There are two ways to that. A supervisor (systemd) holds the socket and
//! passes it on: connections wait in it while nobody accepts. Or the old and the new process listen on the same port
//! (`SO_REUSEPORT`) until the old one ends: each then has a queue of its own, which closing would reset, so it is emptied
//! first.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use listenfd::ListenFd;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

/// Connections that the kernel may hold before they are accepted.
const BACKLOG: i32 = 4096;
/// How long handshakes that have begun may take to end when a shared socket is closed.
const HANDSHAKE_GRACE: Duration = Duration::from_millis(250);

/// Of what comes for a listening socket, drops the packets that would begin a connection: those with SYN, a flag in byte
/// 13 of the TCP header (classic BPF: load the byte, test the bit, return how much of the packet to keep). The client
/// repeats its SYN after a second, and by then the port is the other process's alone.
const NO_NEW_HANDSHAKES: [SockFilter; 4] = [
    SockFilter::new(0x30, 0, 0, 13),
    SockFilter::new(0x45, 0, 1, 0x02),
    SockFilter::new(0x06, 0, 0, 0),
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// Whose a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// This process's alone; nobody else can bind its port.
    Alone,
    /// Other processes of the same user may listen on the same port.
    Port,
    /// A supervisor's, which keeps it open when this process ends.
    Inherited,
}

/// Where listening sockets come from: the supervisor that started this process, or the operating system.
#[derive(Debug)]
pub struct Sockets {
    inherited: Vec<(SocketAddr, std::net::TcpListener)>,
    reuse_port: bool,
}

impl Sockets {
    /// Sockets that are all opened here. With `reuse_port` they can be shared.
    #[must_use]
    pub const fn new(reuse_port: bool) -> Self {
        Self { inherited: Vec::new(), reuse_port }
    }

    /// Takes over what a supervisor passed on (`LISTEN_FDS`); the others are opened here.
    ///
    /// # Errors
    /// When what was passed on is not a listening TCP socket.
    pub fn from_environment(reuse_port: bool) -> io::Result<Self> {
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::new(reuse_port);
        for index in 0..passed.len() {
            if let Some(listener) = passed.take_tcp_listener(index)? {
                sockets.inherited.push((listener.local_addr()?, listener));
            }
        }
        Ok(sockets)
    }

    /// The socket of this address: the inherited one, else a new one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(&mut self, address: SocketAddr) -> io::Result<Bound> {
        let inherited = self.inherited.iter().position(|(inherited, _)| is_same(*inherited, address));
        if let Some(position) = inherited {
            let (_, listener) = self.inherited.swap_remove(position);
            return Ok(Bound { socket: listener.into(), sharing: Sharing::Inherited });
        }
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if self.reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&address.into())?;
        let sharing = if self.reuse_port { Sharing::Port } else { Sharing::Alone };
        Ok(Bound { socket, sharing })
    }

    /// The addresses of inherited sockets that nobody asked for. Connections to them would wait for ever.
    #[must_use]
    pub fn unclaimed(&self) -> Vec<SocketAddr> {
        self.inherited.iter().map(|(address, _)| *address).collect()
    }
}

/// Whether an inherited socket is the one that is meant. A supervisor that was told a port alone listens on `[::]`.
fn is_same(inherited: SocketAddr, meant: SocketAddr) -> bool {
    let both_unspecified = inherited.ip().is_unspecified() && meant.ip().is_unspecified();
    inherited.port() == meant.port() && (both_unspecified || inherited.ip() == meant.ip())
}

/// A socket that has its address and takes no connection yet.
#[derive(Debug)]
pub struct Bound {
    socket: Socket,
    sharing: Sharing,
}

impl Bound {
    /// Begins to take connections. A shared port gives this process its part from here on, so it must be ready.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn listen(self) -> io::Result<Listening> {
        if self.sharing != Sharing::Inherited {
            self.socket.listen(BACKLOG)?;
        }
        self.socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(self.socket.into())?;
        Ok(Listening { listener, sharing: self.sharing })
    }
}

/// A socket that takes connections.
#[derive(Debug)]
pub struct Listening {
    listener: TcpListener,
    sharing: Sharing,
}

impl Listening {
    /// The next connection. Dropping the future loses none.
    ///
    /// # Errors
    /// One connection's failure, or a want of resources; neither is the socket's end.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.listener.accept().await
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Ends it, and gives every connection that still waits to `take`. Those that wait in an inherited socket stay there
    /// for the next process.
    pub async fn close(self, mut take: impl FnMut(TcpStream, SocketAddr)) {
        if self.sharing == Sharing::Inherited {
            return;
        }
        if self.sharing == Sharing::Port {
            // Where that is not possible, a connection that begins at this very moment may be reset.
            if let Err(error) = SockRef::from(&self.listener).attach_filter(&NO_NEW_HANDSHAKES) {
                tracing::debug!(%error, "new connections cannot be held off while the socket is closed");
            }
            let end = Instant::now() + HANDSHAKE_GRACE;
            while let Ok(accepted) = timeout_at(end, self.listener.accept()).await
                && Instant::now() < end
            {
                if let Ok((stream, peer)) = accepted {
                    take(stream, peer);
                }
            }
        }
        // Asked of the kernel itself: the runtime may not have heard yet of what arrived last.
        let Ok(listener) = self.listener.into_std() else { return };
        for _ in 0..BACKLOG {
            match listener.accept() {
                Ok((stream, peer)) => {
                    if stream.set_nonblocking(true).is_ok()
                        && let Ok(stream) = TcpStream::from_std(stream)
                    {
                        take(stream, peer);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream as StdStream;

    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    fn address_of(bound: &Bound) -> SocketAddr {
        bound.socket.local_addr().unwrap().as_socket().unwrap()
    }

    #[tokio::test]
    async fn a_port_is_refused_to_a_second_process_unless_both_share_it() {
        let alone = Sockets::new(false).bind(loopback()).unwrap();
        let address = address_of(&alone);
        let _listening = alone.listen().unwrap();
        assert_eq!(Sockets::new(false).bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(Sockets::new(true).bind(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let shared = Sockets::new(true).bind(loopback()).unwrap();
        let address = address_of(&shared);
        let _listening = shared.listen().unwrap();
        Sockets::new(true).bind(address).unwrap().listen().unwrap();
    }

    #[tokio::test]
    async fn a_socket_takes_no_connection_before_it_listens() {
        let bound = Sockets::new(true).bind(loopback()).unwrap();
        assert!(StdStream::connect(address_of(&bound)).is_err());
    }

    #[tokio::test]
    async fn what_waits_when_a_socket_is_closed_is_taken() {
        for reuse_port in [false, true] {
            let bound = Sockets::new(reuse_port).bind(loopback()).unwrap();
            let address = address_of(&bound);
            let listening = bound.listen().unwrap();
            let clients: Vec<_> = (0..20).map(|_| StdStream::connect(address).unwrap()).collect();
            let mut taken = Vec::new();
            listening.close(|stream, peer| taken.push((stream, peer))).await;
            let mut expected: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
            let mut found: Vec<_> = taken.iter().map(|(_, peer)| *peer).collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected);
            assert!(StdStream::connect(address).is_err(), "it is closed");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_that_begins_while_a_shared_socket_closes_goes_to_the_other() {
        let one = Sockets::new(true).bind(loopback()).unwrap();
        let address = address_of(&one);
        let (one, other) = (one.listen().unwrap(), Sockets::new(true).bind(address).unwrap().listen().unwrap());
        let closing = tokio::spawn(one.close(|stream, _| drop(stream)));
        tokio::time::sleep(HANDSHAKE_GRACE / 2).await;
        // Half of them are for the socket that closes, and must come back to the other.
        let clients: Vec<_> = (0..8).map(|_| tokio::spawn(TcpStream::connect(address))).collect();
        closing.await.unwrap();
        for client in clients {
            client.await.unwrap().unwrap();
        }
        for _ in 0..8 {
            tokio::time::timeout(Duration::from_secs(5), other.accept()).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn an_inherited_socket_is_found_by_its_address_and_left_to_its_owner() {
        let owner = std::net::TcpListener::bind(loopback()).unwrap();
        let address = owner.local_addr().unwrap();
        let inherited = vec![(address, owner.try_clone().unwrap())];
        let mut sockets = Sockets { inherited, reuse_port: false };
        assert_eq!(sockets.unclaimed(), [address]);
        let listening = sockets.bind(address).unwrap().listen().unwrap();
        assert_eq!(sockets.unclaimed(), []);
        let waiting = StdStream::connect(address).unwrap();
        listening.close(|_, _| panic!("it is the next process's")).await;
        owner.set_nonblocking(false).unwrap();
        assert_eq!(owner.accept().unwrap().1, waiting.local_addr().unwrap());
    }

    #[test]
    fn a_supervisor_that_knows_a_port_alone_is_understood() {
        for (inherited, meant, same) in [
            ("[::]:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "0.0.0.0:80", true),
            ("0.0.0.0:80", "127.0.0.1:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
        ] {
            assert_eq!(is_same(inherited.parse().unwrap(), meant.parse().unwrap()), same, "{inherited} {meant}");
        }
    }
}
