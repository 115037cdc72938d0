//! The session's token where it has no business: in another cookie, in another header, in the query.
//!
//! The gateway's own cookie is taken out by its name. A client, or a script that misread it, may repeat the token under
//! another one, and then the backend, its logs and whoever reads them would hold a session. So the exact characters are
//! looked for in a request that presented them, and go.

use ::http::header::{COOKIE, HeaderName, HeaderValue};
use memchr::memmem::Finder;

use super::{NotedHeaders, Refusal, Target};
use crate::session::SessionToken;

/// Takes a token out of all headers and the query: of a cookie line the cookie goes, of any other header all of it.
///
/// # Errors
/// [`Refusal::BadPath`] when the path has it: without, it would be another path.
pub fn take_stray_token(headers: &mut NotedHeaders, target: &mut Target, token: &SessionToken) -> Result<(), Refusal> {
    let may_hold = |length: usize| length >= SessionToken::LENGTH;
    let in_target = may_hold(target.as_str().len());
    if !in_target && !headers.values().any(|value| may_hold(value.len())) {
        return Ok(());
    }
    let token = token.expose_secret();
    let finder = Finder::new(token);
    if in_target {
        if finder.find(target.path().as_bytes()).is_some() {
            return Err(Refusal::BadPath("The path has the session's own token."));
        }
        if finder.find(target.as_str().as_bytes()).is_some() {
            *target = Target::parse(&target.as_str().replace(token, ""))?;
        }
    }
    let holds = |value: &HeaderValue| may_hold(value.len()) && finder.find(value.as_bytes()).is_some();
    let mut doomed: Vec<HeaderName> = Vec::new();
    doomed.extend(headers.iter().filter(|(_, value)| holds(value)).map(|(name, _)| name.clone()));
    for name in doomed {
        let kept = if name == COOKIE { other_cookies(headers, &finder) } else { None };
        headers.remove_named(&name);
        if let Some(kept) = kept {
            headers.insert(name, kept);
        }
    }
    Ok(())
}

/// The cookies without the token, as one line. `None` when there are none.
fn other_cookies(headers: &NotedHeaders, finder: &Finder<'_>) -> Option<HeaderValue> {
    let pieces = headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let kept: Vec<&[u8]> = pieces.filter(|piece| finder.find(piece).is_none()).map(<[u8]>::trim_ascii).collect();
    let kept = kept.join(&b"; "[..]);
    if kept.is_empty() { None } else { HeaderValue::from_bytes(&kept).ok() }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderMap;

    use super::*;

    const TOKEN: &str = "kJ0x_Zq-7dPzv2h1WcYt9uQmA4sB8nEfGiLoRrTyU3I";

    fn taken(target: &str, lines: &[(&'static str, String)]) -> (Result<String, Refusal>, Vec<(String, String)>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).expect("a value"));
        }
        let mut headers = NotedHeaders::from(headers);
        let mut target = Target::parse(target).expect("a target");
        let token = SessionToken::parse(TOKEN.as_bytes()).expect("a token");
        let outcome = take_stray_token(&mut headers, &mut target, &token);
        let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
        let left = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        (outcome.map(|()| target.as_str().to_owned()), left)
    }

    #[test]
    fn the_token_goes_wherever_it_stands_and_nothing_else_does() {
        let long = "x".repeat(60);
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (target, lines, expected, left) in [
            ("/a", vec![("accept", long.clone())], Ok("/a"), vec![own("accept", &long)]),
            ("/a", vec![("authorization", format!("Bearer {TOKEN}"))], Ok("/a"), vec![]),
            (
                "/a",
                vec![("x-debug", format!("\"{TOKEN}\"")), ("accept", "*/*".into())],
                Ok("/a"),
                vec![own("accept", "*/*")],
            ),
            ("/a", vec![("x-a", long.clone()), ("x-a", format!("t={TOKEN}"))], Ok("/a"), vec![]),
            (
                "/a",
                vec![("cookie", format!("a=1,__Host-session={TOKEN}; b=2;c=\"3\"")), ("cookie", format!("d={TOKEN}x"))],
                Ok("/a"),
                vec![own("cookie", "b=2; c=\"3\"")],
            ),
            ("/a", vec![("cookie", format!("a={TOKEN}"))], Ok("/a"), vec![]),
            (&format!("/a?t={TOKEN}&u=1&v={TOKEN}"), vec![], Ok("/a?t=&u=1&v="), vec![]),
            (
                "/a?t=kJ0x_Zq-7dPzv2h1WcYt9uQmA4sB8nEfGiLoRrTyU3",
                vec![],
                Ok("/a?t=kJ0x_Zq-7dPzv2h1WcYt9uQmA4sB8nEfGiLoRrTyU3"),
                vec![],
            ),
        ] {
            let (found, headers) = taken(target, &lines);
            assert_eq!(found.as_deref(), expected.as_deref().map_err(|_: &()| &Refusal::MethodNotAllowed), "{target}");
            assert_eq!(headers, left, "{lines:?}");
        }
        let (refused, _) = taken(&format!("/a/{TOKEN}"), &[]);
        assert!(matches!(refused, Err(Refusal::BadPath(_))));
    }
}
