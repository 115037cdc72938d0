//! A client that does nothing but PING, to see whether anything holds the server up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The pinger.
pub struct Pinger {
    worst: Arc<AtomicU64>,
}

impl Pinger {
    pub async fn start(port: u16) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("redis is there");
        stream.set_nodelay(true).expect("a TCP connection");
        let worst = Arc::new(AtomicU64::new(0));
        let noted = worst.clone();
        tokio::spawn(async move {
            let mut answer = [0; 7];
            loop {
                let begin = Instant::now();
                if stream.write_all(b"PING\r\n").await.is_err() || stream.read_exact(&mut answer).await.is_err() {
                    return;
                }
                let micros = u64::try_from(begin.elapsed().as_micros()).expect("a short time");
                noted.fetch_max(micros, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Self { worst }
    }

    /// The worst since this was last asked.
    pub fn worst(&self) -> Duration {
        Duration::from_micros(self.worst.swap(0, Ordering::Relaxed))
    }
}
