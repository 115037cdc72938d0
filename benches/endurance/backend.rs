//! A backend that trusts what it is told: it answers with the identity headers that it got.

use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// The length of an answer at `/large`: far more than any socket buffer takes.
pub const LARGE: usize = 64 * 1024 * 1024;

/// Starts it, on a port of its own.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        }
    });
    address
}

/// Answers requests until the gateway hangs up, in the middle of one or after it.
async fn serve(stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut stream = BufReader::new(stream);
    let mut body = vec![0; 1024];
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
        let target = line.split(' ').nth(1)?.to_owned();
        let (mut tenant, mut user, mut length) = (String::from("-"), String::from("-"), 0_usize);
        loop {
            line.clear();
            stream.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            match name.to_ascii_lowercase().as_str() {
                "x-customer-id" => tenant = value.to_owned(),
                "x-user-id" => user = value.to_owned(),
                "content-length" => length = value.parse().ok()?,
                _ => {}
            }
        }
        while length > 0 {
            let most = length.min(body.len());
            let read = stream.read(&mut body[..most]).await.ok().filter(|read| *read > 0)?;
            length -= read;
        }
        answer(stream.get_mut(), &target, &tenant, &user).await?;
    }
}

async fn answer(stream: &mut TcpStream, target: &str, tenant: &str, user: &str) -> Option<()> {
    let (kind, body) = match target.split_once('?') {
        Some(("/api/login", whom)) => {
            let (tenant, user) = whom.split_once('.').unwrap_or((whom, whom));
            ("application/json", format!(r#"{{"customer_id":"t{tenant}","user_id":"u{user}"}}"#))
        }
        _ if target == "/large" => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let piece = vec![0; 64 * 1024];
            for _ in 0..LARGE / piece.len() {
                stream.write_all(&piece).await.ok()?;
            }
            return Some(());
        }
        _ => ("text/plain", format!("{tenant} {user}")),
    };
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.ok()
}
