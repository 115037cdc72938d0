use proptest::prelude::*;

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes: 4096, count: 20 };

type Verdicts = Vec<Result<(), Refusal>>;

/// Feeds pieces and returns all verdicts, the last phase and whether a body was broken.
fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Verdicts, Phase, bool) {
    let mut framing = RequestFraming::new(LIMITS);
    for piece in pieces {
        framing.feed(piece);
    }
    let verdicts = std::iter::from_fn(|| framing.take_verdict()).collect();
    (verdicts, framing.phase(), framing.broken_body())
}

fn whole(bytes: &[u8]) -> (Verdicts, Phase, bool) {
    run([bytes])
}

/// What the first head of `bytes` is refused for; `None` when it is accepted.
fn refusal(bytes: &[u8]) -> Option<Refusal> {
    let (verdicts, phase, broken) = whole(bytes);
    let verdict = *verdicts.first().unwrap_or_else(|| panic!("no verdict on {}", bytes.escape_ascii()));
    assert!(!broken);
    assert_eq!(verdict.is_err(), phase == Phase::Refused, "{}", bytes.escape_ascii());
    verdict.err()
}

#[test]
fn what_rfc_9112_calls_ambiguous_is_refused() {
    let with = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n").into_bytes();
    let huge = format!("Content-Length: 1{}", "0".repeat(30));
    for lines in [
        // Two framings, in either order.
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        // Lengths.
        "Content-Length: 5\r\ncontent-length: 6",
        "Content-Length: 5, 6",
        "Content-Length: 5,",
        "Content-Length: ,5",
        "Content-Length: 5, x",
        "Content-Length: 5, 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 5 5",
        "Content-Length: 0x5",
        "Content-Length: 5.0",
        "Content-Length:",
        "Content-Length: \u{665}",
        "Content-Length: 9223372036854775808",
        "Content-Length: 18446744073709551616",
        &huge,
        // Codings.
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding:",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: chunked\u{a0}",
        // Lines.
        "X: a\r\n b",
        "X: a\r\n\tb",
        "X : a",
        "X\t: a",
        "X\u{a0}: a",
        "X\u{b}: a",
        ": a",
        "X",
        "X(y): a",
        "\u{fc}: a",
        "X: a\0b",
        "X: a\u{1b}b",
        "X: a\u{7f}b",
        "X: a\rb",
        "X: a\nContent-Length: 5",
        "X: a\r\r\nY: b",
        "X: a\n\nGET /smuggled HTTP/1.1",
    ] {
        let head = with(lines);
        assert!(matches!(refusal(&head), Some(Refusal::BadRequest(_))), "{}", head.escape_ascii());
    }
}

#[test]
fn a_request_line_is_read_in_one_way_only() {
    for line in [
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        " GET / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/\tHTTP/1.1",
        "GET\u{b}/\u{b}HTTP/1.1",
        "GET / x HTTP/1.1",
        "GET /",
        "GET",
        "GET  HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET /a#frag HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET /a\r HTTP/1.1",
        "GET / HTTP/0.9",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/1",
        "PRI * HTTP/2.0",
    ] {
        let head = format!("{line}\r\nHost: a\r\n\r\n").into_bytes();
        assert!(matches!(refusal(&head), Some(Refusal::BadRequest(_) | Refusal::BadPath(_))), "{line:?}");
    }
    assert!(refusal(b"GET / HTTP/1.1\nHost: a\r\n\r\n").is_some(), "bare LF after the request line");
    assert!(refusal(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").is_none());
    assert!(refusal(b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_some());
    // Whether the method or the target's form is served is for others to say.
    for line in ["TRACE / HTTP/1.1", "get / HTTP/1.0", "OPTIONS * HTTP/1.1", "GET http://a/b HTTP/1.1"] {
        assert_eq!(refusal(format!("{line}\r\n\r\n").as_bytes()), None, "{line}");
    }
}

#[test]
fn ordinary_requests_pass_and_the_next_head_is_found_behind_every_kind_of_body() {
    for (bytes, heads, phase) in [
        (&b""[..], 0, Phase::Idle),
        (b"\r\n", 0, Phase::Idle),
        (b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1, Phase::Idle),
        (b"G", 0, Phase::Head),
        (b"GET / HTTP/1.1\r\n", 0, Phase::Head),
        (b"GET / HTTP/1.1\r\nX:\r\nY: \xe4 \r\n\r\n", 1, Phase::Idle),
        (b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", 1, Phase::Idle),
        (b"POST / HTTP/1.1\r\nContent-Length: 5 \r\n\r\nGET ", 1, Phase::Body),
        (b"POST / HTTP/1.1\r\nContent-Length: 9223372036854775807\r\n\r\nx", 1, Phase::Body),
        (b"POST / HTTP/1.1\r\nContent-Length:\t5\r\n\r\nabcdeGET / HTTP/1.1\r\n\r\n\r\n", 2, Phase::Idle),
        (b"POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n", 1, Phase::Body),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", 2, Phase::Idle),
        (
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b;c=\"d e\"\r\nX\r\n00A;x\r\n0123456789\r\n0;y\r\nT: 1\r\nU: 2\r\n\r\nGET",
            1,
            Phase::Head,
        ),
        (b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n", 3, Phase::Idle),
    ] {
        assert_eq!(whole(bytes), (vec![Ok(()); heads], phase, false), "{}", bytes.escape_ascii());
        assert_eq!(run(bytes.chunks(1)), (vec![Ok(()); heads], phase, false), "{}", bytes.escape_ascii());
    }
}

#[test]
fn bad_chunk_framing_breaks_the_body_and_hides_what_follows() {
    for body in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "0x5\r\nabcde\r\n",
        "+5\r\nabcde\r\n",
        " 5\r\nabcde\r\n",
        "5 \r\nabcde\r\n",
        "5 ;a\r\nabcde\r\n",
        "5\nabcde\r\n",
        "5\r\nabcde\n",
        "5\r\nabcdef\r\n",
        "5\r\nabcd\r\n0\r\n\r\n",
        "5;a\nb\r\nabcde\r\n",
        "5;a\rb\r\nabcde\r\n",
        "5\r\r\nabcde\r\n",
        "10000000000000000\r\n",
        "00000000000000005\r\nabcde\r\n",
        "0\r\nX : 1\r\n\r\n",
        "0\r\n X: 1\r\n\r\n",
        "0\r\nX: 1\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\n\n",
    ] {
        let mut bytes = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        bytes.extend_from_slice(body.as_bytes());
        bytes.extend_from_slice(b"GET /smuggled HTTP/1.1\r\n\r\n");
        let (verdicts, phase, broken) = whole(&bytes);
        assert!(matches!(verdicts[..], [Err(Refusal::BadRequest(_))]), "{body:?}: {verdicts:?}");
        assert_eq!((phase, broken), (Phase::Refused, false), "{body:?}");
        assert_eq!(run(bytes.chunks(1)).0, verdicts, "{body:?}");
    }
}

#[test]
fn everything_a_client_can_make_long_is_bounded() {
    let limits = |bytes, count| RequestFraming::new(HeadLimits { bytes, count });
    let head = b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n";

    let mut exact = limits(head.len(), 2);
    exact.feed(head);
    assert_eq!(exact.take_verdict(), Some(Ok(())));

    for mut over in [limits(head.len() - 1, 2), limits(head.len(), 1)] {
        over.feed(head);
        assert!(matches!(over.take_verdict(), Some(Err(Refusal::HeadersTooLarge(_)))));
        assert_eq!(over.phase(), Phase::Refused);
    }

    // A line that never ends is refused when it is too long, not when it ends.
    let mut endless = limits(100, 2);
    for _ in 0..101 {
        endless.feed(b"a");
    }
    assert!(matches!(endless.take_verdict(), Some(Err(Refusal::HeadersTooLarge(_)))));

    let mut empty_lines = limits(100, 2);
    empty_lines.feed(b"\r\n\r\n\r\n\r\n");
    assert_eq!(empty_lines.phase(), Phase::Idle);
    empty_lines.feed(b"\r\n");
    assert!(matches!(empty_lines.take_verdict(), Some(Err(Refusal::BadRequest(_)))));

    let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extensions = [&b"1;"[..], &[b'a'; 100], b"\r\nx\r\n"].concat();
    let trailers = [&b"0\r\n"[..], &b"A: 1\r\n".repeat(21)].concat();
    let long_trailer = [&b"0\r\nA: "[..], &[b'a'; 4096]].concat();
    for body in [&extensions.repeat(100)[..], &trailers, &long_trailer] {
        let (verdicts, phase, broken) = run([&chunked[..], body]);
        assert!(matches!(verdicts[..], [Err(Refusal::BadRequest(_))]), "{verdicts:?}");
        assert_eq!((phase, broken), (Phase::Refused, false));
    }
}

#[test]
fn a_broken_body_refuses_its_own_head_and_no_other() {
    let good = "GET / HTTP/1.1\r\n\r\n";
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (verdicts, ..) = whole(format!("{good}{chunked}zz\r\n").as_bytes());
    assert!(matches!(verdicts[..], [Ok(()), Err(Refusal::BadRequest(_))]), "{verdicts:?}");

    // Where the verdict was taken, the reader of the body has to be told.
    let mut framing = RequestFraming::new(LIMITS);
    framing.feed(chunked.as_bytes());
    assert_eq!(framing.take_verdict(), Some(Ok(())));
    framing.feed(b"zz\r\n");
    assert_eq!((framing.take_verdict(), framing.phase(), framing.broken_body()), (None, Phase::Refused, true));
}

#[test]
fn verdicts_come_in_order_and_a_refusal_is_the_last() {
    let mut framing = RequestFraming::new(LIMITS);
    framing.feed(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3#x HTTP/1.1\r\n\r\nGET /4 HTTP/1.1\r\n\r\n");
    assert_eq!(framing.take_verdict(), Some(Ok(())));
    assert_eq!(framing.take_verdict(), Some(Ok(())));
    assert!(matches!(framing.take_verdict(), Some(Err(_))));
    assert_eq!(framing.take_verdict(), None);
    framing.feed(b"GET /5 HTTP/1.1\r\n\r\n");
    assert_eq!(framing.take_verdict(), None);
    assert_eq!(framing.phase(), Phase::Refused);
}

#[test]
fn nothing_is_taken_after_a_request_for_another_protocol_until_the_connection_stays_http() {
    let ask = b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n";
    let rest = b"GET /2 HTTP/1.1\r\n\r\n";
    for cut in 1..ask.len() {
        let mut framing = RequestFraming::new(LIMITS);
        assert!(framing.feed(&ask[..cut]).is_empty());
        let bytes = [&ask[cut..], rest].concat();
        assert_eq!(framing.feed(&bytes), rest, "cut at {cut}");
        assert_eq!((framing.phase(), framing.take_verdict()), (Phase::Held, Some(Ok(()))));
        assert_eq!(framing.feed(rest), rest, "still held");
        assert_eq!(framing.take_verdict(), None);
        framing.resume();
        assert!(framing.feed(rest).is_empty());
        assert_eq!((framing.phase(), framing.take_verdict()), (Phase::Idle, Some(Ok(()))));
    }
}

#[test]
fn a_request_that_cannot_be_answered_with_a_switch_holds_nothing_up() {
    for head in [
        "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
        "GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n",
        "POST / HTTP/1.1\r\nUpgrade: websocket\r\nContent-Length: 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ] {
        let mut framing = RequestFraming::new(LIMITS);
        assert!(framing.feed(head.as_bytes()).is_empty());
        assert_eq!(framing.phase(), Phase::Idle, "{head}");
        framing.resume();
        assert_eq!(framing.phase(), Phase::Idle, "{head}");
    }
}

#[test]
fn a_head_that_comes_in_one_read_allocates_nothing() {
    let mut framing = RequestFraming::new(LIMITS);
    framing.feed(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(framing.partial.capacity(), 0);
}

/// Pieces of requests that are likely to meet each other in interesting ways.
fn fragments() -> impl Strategy<Value = Vec<u8>> {
    let fragment = prop_oneof![
        8 => Just(&b"GET / HTTP/1.1\r\n"[..]),
        2 => Just(&b"POST /a?b HTTP/1.0\r\n"[..]),
        1 => Just(&b"GET /#a HTTP/1.1\r\n"[..]),
        1 => Just(&b"GET /{a}|?<\xe4> HTTP/1.1\r\n"[..]),
        1 => Just(&b"Content-Length: 03, 3\r\n"[..]),
        6 => Just(&b"\r\n"[..]),
        1 => Just(&b"\n"[..]),
        1 => Just(&b"\r"[..]),
        6 => Just(&b"Host: a\r\n"[..]),
        2 => Just(&b"X:\r\n"[..]),
        2 => Just(&b"X: \t\xe4 \r\n"[..]),
        1 => Just(&b" folded\r\n"[..]),
        1 => Just(&b"X : a\r\n"[..]),
        4 => Just(&b"Content-Length: 3\r\n"[..]),
        4 => Just(&b"Transfer-Encoding: chunked\r\n"[..]),
        2 => Just(&b"abc"[..]),
        3 => Just(&b"3\r\nabc\r\n"[..]),
        3 => Just(&b"0\r\n\r\n"[..]),
        1 => Just(&b"0\r\nT: 1\r\n\r\n"[..]),
        1 => Just(&b"\0"[..]),
    ];
    proptest::collection::vec(fragment, 1..14).prop_map(|pieces| pieces.concat())
}

/// Where hyper's parser ends the first head of `bytes`; `None` when it refuses it or waits for more.
fn httparse_end(bytes: &[u8]) -> Option<usize> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    match httparse::Request::new(&mut headers).parse(bytes) {
        Ok(httparse::Status::Complete(length)) => Some(length),
        Ok(httparse::Status::Partial) | Err(_) => None,
    }
}

/// Where this machine ends the first head: it says so with its verdict, fed byte by byte.
fn our_end(bytes: &[u8]) -> Option<usize> {
    let mut framing = RequestFraming::new(LIMITS);
    for (at, byte) in bytes.iter().enumerate() {
        framing.feed(std::slice::from_ref(byte));
        if let Some(verdict) = framing.take_verdict() {
            return verdict.ok().map(|()| at + 1);
        }
    }
    None
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_verdicts_do_not_depend_on_where_reads_are_cut(
        bytes in fragments(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(run(pieces), whole(&bytes));
        prop_assert_eq!(run(bytes.chunks(1)), whole(&bytes));
    }

    #[test]
    fn an_accepted_head_ends_on_the_byte_where_hypers_parser_ends_it(bytes in fragments()) {
        if let Some(end) = our_end(&bytes) {
            let read = repaired([&bytes[..end]]);
            prop_assert_eq!(httparse_end(&read), Some(read.len()));
        }
    }

    #[test]
    fn what_hyper_is_given_does_not_depend_on_where_reads_are_cut_and_needs_no_repair(
        bytes in fragments(),
        size in 1..40_usize,
    ) {
        if whole(&bytes).1 != Phase::Refused {
            let given = repaired([&bytes[..]]);
            prop_assert_eq!(&repaired(bytes.chunks(size)), &given);
            let again = given.len();
            prop_assert_eq!(repaired([&given[..]]).len(), again);
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_panic_or_keep_more_than_the_limit(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut framing = RequestFraming::new(HeadLimits { bytes: 50, count: 2 });
        framing.feed(b"GET / HTTP/1.1\r\n");
        framing.feed(&bytes);
        prop_assert!(framing.partial.len() <= 50);
    }
}

#[test]
fn a_target_is_read_as_the_library_takes_it_or_refused_here_with_a_word() {
    for byte in 0..=255_u8 {
        for start in [&b"/a"[..], b"/a?x"] {
            let target = [start, &[byte], b"b"].concat();
            let line = [b"GET ", &*target, b" HTTP/1.1"].concat();
            let Ok((_, repaired)) = Head::of_request_line(&line, line.len() + 2) else { continue };
            let line = repaired.unwrap_or(line);
            let target = line.split(|byte| *byte == b' ').nth(1).expect("a target");
            assert!(::http::Uri::try_from(target).is_ok(), "{}", target.escape_ascii());
            assert!(target.is_ascii());
        }
    }
}

/// What hyper is given: the bytes with the repairs that the framing says.
fn repaired<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut framing = RequestFraming::new(LIMITS);
    let (mut given, mut withheld) = (Vec::new(), Vec::new());
    for piece in pieces {
        framing.feed(piece);
        let mut whole = framing.take_repairs().apply(&withheld, piece);
        withheld = whole.split_off(whole.len() - framing.unfinished());
        given.extend(whole);
    }
    assert!(framing.phase() == Phase::Refused || withheld.len() == framing.unfinished());
    [given, withheld].concat()
}

#[test]
fn what_has_one_meaning_is_read_in_its_plain_spelling_wherever_reads_are_cut() {
    let odd = b"GET /{a}?\"\xff\" HTTP/1.1\r\nX: 1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 003\r\nY: 2\r\n\
                content-length: 3, 3\r\n\r\nabcPOST /c|d HTTP/1.1\r\nContent-Length: 0,0\r\n\r\nGET /e^";
    let plain = "GET /%7Ba%7D?%22%FF%22 HTTP/1.1\r\nX: 1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 3\r\nY: 2\r\n\
                 \r\nabcPOST /c%7Cd HTTP/1.1\r\nContent-Length: 0\r\n\r\nGET /e^";
    assert_eq!(whole(odd), (vec![Ok(()); 3], Phase::Head, false));
    for size in 1..=odd.len() {
        let given = repaired(odd.chunks(size));
        assert_eq!(std::str::from_utf8(&given), Ok(plain), "{size} at a time");
    }
    assert_eq!(whole(plain.as_bytes()).0, vec![Ok(()); 3], "the plain spelling needs no repair");
    assert_eq!(repaired([plain.as_bytes()]), plain.as_bytes());
}

#[test]
fn a_head_that_encoding_makes_too_long_is_refused() {
    let head = |braces: usize| format!("GET /{} HTTP/1.1\r\n\r\n", "{".repeat(braces)).into_bytes();
    let fits = (LIMITS.bytes - head(0).len()) / 3;
    assert_eq!(refusal(&head(fits)), None);
    assert_eq!(refusal(&head(fits + 1)), Some(Refusal::HeadersTooLarge(HeadLimit::Bytes)));
}
