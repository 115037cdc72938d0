//! The page for a browser that may have a session and did not say so: a link in a mail led it here, and its cookie is
//! `SameSite=Strict`. It asks once more from here, where the cookie comes with it.
//!
//! Without scripts and without anything from elsewhere. It must never be shown to whom our own page sent: that would go
//! round for ever.

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY};
use http::uri::PathAndQuery;
use http::{HeaderMap, Response};

use super::body::AnswerBody;

const HEADERS: [(http::HeaderName, HeaderValue); 4] = [
    (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'self'")),
    // So that the next request names this page.
    (REFERRER_POLICY, HeaderValue::from_static("same-origin")),
];

/// The page that leads to `target` from here.
pub(super) fn page(target: Option<&PathAndQuery>) -> Response<AnswerBody> {
    // Two slashes begin the name of another host.
    let here = target.map(PathAndQuery::as_str).filter(|target| !target.starts_with("//"));
    let mut response = Response::new(AnswerBody::whole(text(here.unwrap_or("/"))));
    *response.headers_mut() = HeaderMap::from_iter(HEADERS);
    response
}

fn text(target: &str) -> String {
    let target = escaped(target);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<meta http-equiv=\"refresh\" content=\"0;url={target}\">\n<title>One \
         moment</title>\n</head>\n<body>\n<main><p><a href=\"{target}\">Continue</a></p></main>\n</body>\n</html>\n"
    )
}

/// As the value of an attribute in double quotes.
fn escaped(target: &str) -> String {
    let mut escaped = String::with_capacity(target.len());
    for character in target.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_writes_anything_else_into_the_page() {
        let page = text("/a?b=c&d='x'\"><script>alert(1)</script>");
        let target = "/a?b=c&amp;d=&#39;x&#39;&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;";
        assert!(page.contains(&format!("content=\"0;url={target}\"")), "{page}");
        assert!(page.contains(&format!("href=\"{target}\"")) && !page.contains("<script"), "{page}");
    }
    #[tokio::test]
    async fn no_target_leads_to_another_host() {
        use http_body_util::BodyExt as _;
        let target = PathAndQuery::from_static("//evil.test/%2F");
        let page = page(Some(&target)).into_body().collect().await.expect("a page").to_bytes();
        let page = String::from_utf8_lossy(&page);
        assert!(page.contains("content=\"0;url=/\"") && !page.contains("evil"), "{page}");
    }
}
