//! A request target: the backend and the router read the same path, and nobody can read it in another way.

use http::Uri;
use percent_encoding::percent_decode_str;
use session_gateway::http::Target;

fn encoded(byte: u8) -> String {
    match byte {
        b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x80.. => format!("%{byte:02X}"),
        _ => char::from(byte).to_string(),
    }
}

pub fn check(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else { return };
    let parsed = Target::parse(raw);
    if let Ok(uri) = raw.parse::<Uri>()
        && uri.path_and_query().is_some_and(|whole| whole.as_str() == raw)
    {
        assert_eq!(Target::of_uri(&uri), parsed, "as text and as a URI it is one target");
    }
    let Ok(target) = parsed else { return };

    let again = Target::parse(target.as_str());
    assert_eq!(again.as_ref(), Ok(&target), "normalising twice changes nothing");

    let (path, query) = raw.split_once('?').map_or((raw, None), |(path, query)| (path, Some(query)));
    let encoded = query.map(|query| query.bytes().map(encoded).collect::<String>());
    assert_eq!(target.query(), encoded.as_deref(), "the query passes byte for byte, but for what no URI may hold");
    assert!(target.path().starts_with('/') && !target.path().contains("//"), "{}", target.path());
    assert!(target.as_str().bytes().all(|byte| byte.is_ascii_graphic()), "{}", target.as_str());
    let lower = target.path().to_ascii_lowercase();
    assert!(!["%2f", "%5c", "\\", "%00"].iter().any(|bad| lower.contains(bad)), "{lower}");

    // Decoded once, and once only: what a client wrote is what a router reads.
    let decode = |part: &str| percent_decode_str(part).decode_utf8().expect("UTF-8, or it is refused").into_owned();
    let written: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
    let read: Vec<String> = target.segments().map(std::borrow::Cow::into_owned).collect();
    assert_eq!(read, written);
    for segment in &read {
        // A parameter after a dot segment is taken off by some servers.
        let bare = segment.split(';').next().unwrap_or_default();
        assert!(!segment.is_empty() && bare != "." && bare != "..", "a dot segment: {read:?}");
        assert!(!segment.contains(['/', '\\']) && !segment.chars().any(char::is_control), "{read:?}");
    }
    assert_eq!(path.ends_with('/'), target.path().ends_with('/'), "a last slash stays, and none comes");
}
