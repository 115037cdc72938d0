//! Requests for another protocol, and what a backend makes of them.

use super::*;

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: own\r\nConnection: upgrade\r\n\r\n";

fn ask() -> Request<RequestBody> {
    let mut request = get("/own");
    request.headers_mut().insert("upgrade", "own".parse().unwrap());
    request
}

#[tokio::test]
async fn a_switch_gives_the_bytes_of_the_connection_from_the_first_after_the_101() {
    let backend = Backend::start().await;
    for upstream in [upstream(vec![backend.address()]), upstream_with_keepalive(&backend)] {
        let script = async {
            let mut call = backend.accept().await;
            let head = call.answer(&format!("{SWITCH}early")).await;
            assert!(head.contains("connection: upgrade") && head.contains("upgrade: own"), "{head}");
            assert!(!head.contains("close"), "{head}");
            assert_eq!(call.body(5).await, b"hello");
            call.say("late").await;
        };
        let client = async {
            let Switched::Yes(head, mut tunnel) = upstream.send_upgrade(None, ask()).await.unwrap() else {
                panic!("a 101")
            };
            assert_eq!((head.status().as_u16(), &head.headers()["upgrade"]), (101, &"own".parse().unwrap()));
            tunnel.io.write_all(b"hello").await.unwrap();
            let mut bytes = Vec::new();
            tunnel.io.read_to_end(&mut bytes).await.unwrap();
            assert_eq!(bytes, b"earlylate");
        };
        tokio::join!(client, script);
    }
}

#[tokio::test]
async fn any_other_answer_is_an_ordinary_one() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let script = async { backend.accept().await.answer(OK).await };
    let (answer, _) = tokio::join!(upstream.send_upgrade(None, ask()), script);
    let Switched::No(answer) = answer.unwrap() else { panic!("no 101") };
    assert_eq!(text(answer).await, "ok");
}

#[tokio::test]
async fn a_request_for_another_protocol_is_sent_once() {
    let backend = Backend::start().await;
    let upstream = upstream_with_keepalive(&backend);
    let script = async {
        backend.accept().await.answer(OK).await;
        backend.accept().await.head().await.unwrap();
    };
    let client = async {
        text(upstream.send(get("/")).await.unwrap()).await;
        upstream.send_upgrade(None, ask()).await
    };
    let (answer, ()) = tokio::join!(client, script);
    assert!(matches!(answer, Err(UpstreamError::Broken { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_tunnel_whose_peer_is_gone_says_so_when_it_is_written_to() {
    let backend = Backend::start().await;
    let upstream = upstream(vec![backend.address()]);
    let script = async {
        let mut call = backend.accept().await;
        call.answer(SWITCH).await;
    };
    let (answer, ()) = tokio::join!(upstream.send_upgrade(None, ask()), script);
    let Switched::Yes(_, mut tunnel) = answer.unwrap() else { panic!("a 101") };
    let writing = async { while tunnel.io.write_all(&[0; 1024]).await.is_ok() {} };
    timeout(10 * SECOND, writing).await.expect("a write fails, and none waits for ever");
}
