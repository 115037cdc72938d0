use std::path::Path;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::audit::chain::{Chain, ChainKey, Head, InstanceId};
use crate::audit::event::{Actor, AuditEvent, AuditType, Details, Outcome};
use crate::audit::record::AuditRecord;
use crate::clock::WallTime;
use crate::secret::Secret;
use crate::session::{TenantId, UserId};
use crate::store::StoreResult;
use crate::store::audit::{SharedLine, StreamEntry};

const START: u64 = 1_700_000_000_000_000;

fn time(second: u64) -> WallTime {
    WallTime::from_micros(START + second * 1_000_000)
}

/// Lines of every kind, one a second, of tenants `t0` to `t2`.
fn lines(count: u64) -> Vec<Vec<u8>> {
    let key = ChainKey::derived_from(&Secret::new("k"));
    let mut chain = Chain::after(key, Head::start_of(InstanceId::of_random([1; 9])));
    (0..count)
        .map(|second| {
            let kinds = [AuditType::SessionCreated, AuditType::SessionEnded];
            let kind = kinds[usize::try_from(second % 2).expect("small")];
            let mut event = AuditEvent::new(time(second), kind, Outcome::Success, Actor::User);
            event.tenant = TenantId::parse(&format!("t{}", second % 3)).ok();
            event.user = UserId::parse(&format!("u{}", second % 5)).ok();
            // What looks like another tenant's line is none.
            event.details = Details::none().count("n", second).text("text", "\",\"tenant\":\"t1\"");
            let mut line = Vec::new();
            chain.append(&event, &mut line);
            line.pop();
            line
        })
        .collect()
}

fn numbers(events: &[AuditRecord]) -> Vec<u64> {
    events.iter().map(|event| event.details["n"].as_u64().expect("a number")).collect()
}

fn write(path: &Path, lines: &[Vec<u8>]) {
    let mut text = lines.join(&b'\n');
    text.push(b'\n');
    std::fs::write(path, text).expect("writes");
}

/// A stream in memory.
#[derive(Default)]
struct Memory(Mutex<Vec<StreamEntry>>);

#[async_trait]
impl AuditStream for Memory {
    async fn append(&self, _: &[SharedLine]) -> StoreResult<()> {
        unreachable!()
    }

    async fn after(&self, position: StreamPosition, count: usize) -> StoreResult<Vec<StreamEntry>> {
        let entries = self.0.lock();
        Ok(entries.iter().filter(|entry| entry.position > position).take(count).cloned().collect())
    }

    async fn before(&self, position: Option<StreamPosition>, count: usize) -> StoreResult<Vec<StreamEntry>> {
        let entries = self.0.lock();
        let before = |entry: &&StreamEntry| position.is_none_or(|position| entry.position < position);
        Ok(entries.iter().rev().filter(before).take(count).cloned().collect())
    }
}

/// The same lines in a stream, and in three files of which the last is the current one.
fn both(count: u64) -> (AuditQuery, AuditQuery, tempfile::TempDir) {
    let lines = lines(count);
    let entry = |(at, line): (usize, &Vec<u8>)| StreamEntry {
        position: StreamPosition { millis: START / 1000 + at as u64 * 1000, count: 0 },
        line: line.clone(),
    };
    let stream = Memory(Mutex::new(lines.iter().enumerate().map(entry).collect()));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let (first, rest) = lines.split_at(lines.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    write(&folder.path().join("audit.jsonl.2"), first);
    write(&folder.path().join("audit.jsonl.1"), second);
    write(&path, third);
    let target = AuditTarget::File(path);
    (AuditQuery::over(&target, Some(Arc::new(stream))), AuditQuery::over(&target, None), folder)
}

async fn all(query: &AuditQuery, filter: &AuditFilter, limit: usize) -> Vec<u64> {
    let mut found = Vec::new();
    let mut cursor: Option<AuditCursor> = None;
    loop {
        let page = query.page(filter, cursor.as_ref(), limit).await.expect("a page");
        assert!(page.events.len() <= limit);
        found.extend(numbers(&page.events));
        // As a client would send it.
        cursor = Some(page.position.to_string().parse().expect("a cursor"));
        if !page.more {
            return found;
        }
    }
}

#[tokio::test]
async fn pages_together_hold_each_event_once_oldest_first() {
    let (stream, files, _folder) = both(700);
    for query in [stream, files] {
        for limit in [1, 7, 200, 1000] {
            assert_eq!(all(&query, &AuditFilter::default(), limit).await, (0..700).collect::<Vec<_>>(), "{query:?}");
        }
    }
}

#[tokio::test]
async fn a_filter_lets_through_what_it_names_alone() {
    let (stream, files, _folder) = both(300);
    let of = |n: u64| (TenantId::parse(&format!("t{n}")).ok(), UserId::parse(&format!("u{n}")).ok());
    for query in [stream, files] {
        let filter = AuditFilter { tenant: of(1).0, ..AuditFilter::default() };
        assert_eq!(all(&query, &filter, 10).await, (0..300).filter(|n| n % 3 == 1).collect::<Vec<_>>());
        let filter = AuditFilter { user: of(2).1, kind: Some(AuditType::SessionEnded), ..AuditFilter::default() };
        assert_eq!(all(&query, &filter, 10).await, (0..300).filter(|n| n % 5 == 2 && n % 2 == 1).collect::<Vec<_>>());
        let filter = AuditFilter { since: Some(time(50)), until: Some(time(60)), ..AuditFilter::default() };
        assert_eq!(all(&query, &filter, 3).await, (50..60).collect::<Vec<_>>());
    }
}

async fn all_back(query: &AuditQuery, filter: &AuditFilter, limit: usize) -> Vec<u64> {
    let mut found = Vec::new();
    let mut cursor: Option<AuditCursor> = None;
    loop {
        let page = query.back(filter, cursor.as_ref(), limit).await.expect("a page");
        assert!(page.events.len() <= limit);
        found.extend(numbers(&page.events));
        cursor = Some(page.position.to_string().parse().expect("a cursor"));
        if !page.more {
            return found;
        }
    }
}

#[tokio::test]
async fn pages_on_the_way_back_together_hold_each_event_once_newest_first() {
    let (stream, files, _folder) = both(700);
    for query in [stream, files] {
        for limit in [1, 7, 200, 1000] {
            let found = all_back(&query, &AuditFilter::default(), limit).await;
            assert_eq!(found, (0..700).rev().collect::<Vec<_>>(), "{query:?}");
        }
        let filter = AuditFilter { tenant: TenantId::parse("t0").ok(), ..AuditFilter::default() };
        assert_eq!(all_back(&query, &filter, 50).await, (0..700).rev().filter(|n| n % 3 == 0).collect::<Vec<_>>());
        let filter = AuditFilter { since: Some(time(50)), until: Some(time(60)), ..AuditFilter::default() };
        assert_eq!(all_back(&query, &filter, 3).await, (50..60).rev().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn lines_of_many_blocks_are_read_from_the_end_and_one_that_is_being_written_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.jsonl");
    let lines = lines(8000);
    let mut text = lines.join(&b'\n');
    assert!(text.len() > 2 << 20, "more than two blocks");
    std::fs::write(&path, &text).expect("writes");
    let query = AuditQuery::over(&AuditTarget::File(path.clone()), None);
    for limit in [3, 1000] {
        let first = query.back(&AuditFilter::default(), None, limit).await.expect("a page");
        assert_eq!(numbers(&first.events)[..3], [7998, 7997, 7996], "the last has no end yet");
    }
    assert_eq!(all_back(&query, &AuditFilter::default(), 999).await, (0..7999).rev().collect::<Vec<_>>());
    text.push(b'\n');
    std::fs::write(&path, &text).expect("writes");
    assert_eq!(all_back(&query, &AuditFilter::default(), 1000).await, (0..8000).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_goes_on_after_a_rotation_and_after_its_file_was_compressed() {
    let (_, files, folder) = both(300);
    let path = |name: &str| folder.path().join(name);
    let first = files.page(&AuditFilter::default(), None, 150).await.expect("a page");
    for (from, to) in
        [("audit.jsonl.2", "audit.jsonl.3"), ("audit.jsonl.1", "audit.jsonl.2"), ("audit.jsonl", "audit.jsonl.1")]
    {
        std::fs::rename(path(from), path(to)).expect("renames");
    }
    write(&path("audit.jsonl"), &lines(310)[300..]);
    let mut next = files.page(&AuditFilter::default(), Some(&first.position), 1000).await.expect("a page");
    assert_eq!(numbers(&next.events), (150..310).collect::<Vec<_>>());
    std::fs::rename(path("audit.jsonl.2"), path("audit.jsonl.2.gz")).expect("renames");
    next = files.page(&AuditFilter::default(), Some(&first.position), 1000).await.expect("a page");
    assert_eq!(numbers(&next.events), (200..310).collect::<Vec<_>>(), "what is compressed is not read");
}

#[tokio::test]
async fn nothing_written_yet_is_an_empty_page_and_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let query = AuditQuery::over(&AuditTarget::File(folder.path().join("none/audit.jsonl")), None);
    for page in [query.page(&AuditFilter::default(), None, 5).await, query.back(&AuditFilter::default(), None, 5).await]
    {
        let page = page.expect("a page");
        assert_eq!((page.events, page.more, page.position), (Vec::new(), false, AuditCursor::default()));
    }
    let query = AuditQuery::over(&AuditTarget::Stdout, None);
    assert!(matches!(query.page(&AuditFilter::default(), None, 5).await, Err(QueryError::NotKept)));
}

#[tokio::test]
async fn a_cursor_that_was_not_made_here_is_refused() {
    for wrong in ["", "1", "s.1", "s.1.2.3", "s.x.1", "f.1.2", "f.1.2.short.x", "s.01.2", &"f.1.1.".repeat(99)] {
        assert_eq!(wrong.parse::<AuditCursor>(), Err(BadCursor), "{wrong}");
    }
    let (stream, files, _folder) = both(3);
    let of_files = files.page(&AuditFilter::default(), None, 1).await.expect("a page").position;
    let refused = stream.page(&AuditFilter::default(), Some(&of_files), 1).await;
    assert!(matches!(refused, Err(QueryError::Cursor(BadCursor))));
}
