//! The client against a server that answers what the test wishes.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use serde_json::json;

use super::super::ApiOptions;
use super::*;

/// Answers one connection after the other, and returns the requests' first lines.
fn server(answers: Vec<String>) -> (Client, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let served = std::thread::spawn(move || {
        let serve = |answer: String| {
            let (mut socket, _) = listener.accept().expect("a connection");
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte).expect("readable") > 0 {
                head.push(byte[0]);
            }
            // A client that has read enough hangs up.
            let _ = socket.write_all(answer.as_bytes());
            String::from_utf8_lossy(&head).into_owned()
        };
        answers.into_iter().map(serve).collect()
    });
    let options = ApiOptions { url: Some(url), ..ApiOptions::default() };
    let variable = |name: &str| (name == "SESSION_GATEWAY_ADMIN_TOKEN").then(|| String::from("the-token"));
    (Client::new(Access::find(&options, &[], &variable).expect("all is known")), served)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn problem(status: &str, detail: &str) -> String {
    answer(status, &json!({"detail": detail, "code": "x"}).to_string())
}

#[tokio::test]
async fn each_failure_is_one_line_that_says_what_to_do() {
    for (answer, expected) in [
        (problem("401 Unauthorized", "x"), "--token-file"),
        (problem("403 Forbidden", "needs `read`"), "needs `read`; name a token that may"),
        (problem("404 Not Found", "there is no live session"), "not found: there is no live session"),
        (answer("404 Not Found", "no"), "is it the admin API"),
        (problem("400 Bad Request", "limit: choose"), "limit: choose"),
        (problem("429 Too Many Requests", "too many"), "refused (429): too many"),
        (problem("503 Service Unavailable", "the store\u{1b}[2J\n"), "failed (503): the store\\x1b[2J\\n"),
        (answer("500 Internal Server Error", ""), "its log says how"),
        (answer("200 OK", "<html>"), "something other than JSON"),
        (answer("302 Found", ""), "refused (302)"),
        (String::from("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), "broke off"),
        (String::from("SSH-2.0-x\r\n"), "broke off"),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{{", LARGEST_ANSWER + 1), "broke off"),
    ] {
        let (client, served) = server(vec![answer.clone()]);
        let text = match client.get("/v1/x", &[]).await.expect_err("a failure") {
            Trouble::Usage(text) | Trouble::Unavailable(text) | Trouble::Forbidden(text) | Trouble::Failed(text) => {
                text
            }
            Trouble::NoReader => String::new(),
        };
        assert!(text.contains(expected) && !text.contains('\n') && !text.contains("the-token"), "{text}");
        served.join().expect("served");
    }
}

#[tokio::test]
async fn a_call_shows_the_token_and_escapes_what_it_names() {
    let (client, served) = server(vec![answer("200 OK", "{}")]);
    let path = format!("/v1/tenants/{}", path_segment("a/b?c#d%é").expect("nameable"));
    client.get(&path, &[("reason", "a&b c")]).await.expect("an answer");
    let head = served.join().expect("served").remove(0);
    assert!(head.starts_with("GET /v1/tenants/a%2Fb%3Fc%23d%25%C3%A9?reason=a%26b+c HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer the-token\r\n"), "{head}");
}

#[test]
fn no_name_changes_the_path_of_a_call() {
    for name in ["", ".", "..", "../revoke", "a/.."] {
        assert!(matches!(path_segment(name), Err(Trouble::Usage(_))), "{name:?}");
    }
    assert_eq!(path_segment("a/b..c"), Ok(String::from("a%2Fb..c")));
}

#[tokio::test]
async fn a_list_is_fetched_to_its_end_or_limit_and_never_in_circles() {
    let page =
        |items: Value, next: Option<&str>| answer("200 OK", &json!({"items": items, "next_cursor": next}).to_string());
    let pages = || vec![page(json!([1, 2]), Some("a")), page(json!([]), Some("b")), page(json!([3]), None)];
    let (client, served) = server(pages());
    let all = client.pages("/v1/x", vec![("tenant", "t")], 10).all().await;
    assert_eq!(all, Ok((vec![json!(1), json!(2), json!(3)], false)));
    let heads = served.join().expect("served");
    assert!(heads[2].starts_with("GET /v1/x?tenant=t&limit=8&cursor=b "), "{}", heads[2]);

    let (client, _) = server(pages());
    assert_eq!(client.pages("/v1/x", Vec::new(), 1).all().await, Ok((vec![json!(1)], true)));

    let (client, _) = server(vec![page(json!([1]), Some("a")), page(json!([1]), Some("a"))]);
    assert!(
        matches!(client.pages("/v1/x", Vec::new(), 9).all().await, Err(Trouble::Failed(text)) if text.contains("twice"))
    );
}

#[tokio::test]
async fn a_refused_connection_says_where_and_what_to_do() {
    let (client, served) = server(Vec::new());
    served.join().expect("its listener is closed");
    let trouble = client.get("/v1/x", &[]).await.expect_err("nobody listens");
    assert!(
        matches!(&trouble, Trouble::Unavailable(text) if text.contains("refused") && text.contains("--url")),
        "{trouble:?}"
    );
}
