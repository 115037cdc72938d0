//! The file that the app's pages report with. It holds nothing of anybody: whoever asks gets it.

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};

use super::super::body::AnswerBody;
use super::super::respond::own;

const SCRIPT: &str = include_str!("monitor.js");

pub(super) fn script() -> Response<AnswerBody> {
    let mut response = own(Response::new(AnswerBody::whole(SCRIPT)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    response
}
