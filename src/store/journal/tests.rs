//! The journal on a disk of its own, with a manual clock.

use super::*;
use crate::clock::{Clock as _, ManualClock, WallTime};

const START: WallTime = WallTime::from_micros(1_700_000_000_000_000);

fn user(floor: u64) -> Entry {
    Entry::User { tenant: String::from("acme"), user: String::from("7"), floor, standing: None, keep: None }
}

fn open(path: &Path, clock: &Arc<ManualClock>) -> Result<Arc<Journal>, OpenError> {
    let tell = |_| Box::pin(async { true }) as BoxFuture<'static, bool>;
    Journal::open(path, clock.clone(), Duration::from_secs(8 * 3600), Box::new(|_| ()), Box::new(tell))
}

async fn write(journal: &Journal, entry: Entry) -> Option<Written> {
    journal.write(entry, EndReason::UserRevoked, &By::Gateway).await
}

fn tenant(status: &str, floor: u64) -> Entry {
    let (tenant, status) = (String::from("acme"), String::from(status));
    Entry::Tenant { tenant, floor, status, note: String::from("tenant_revoked x"), standing: None }
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart_and_gone_when_nothing_of_it_could_live() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data/journal.redb");
    let clock = Arc::new(ManualClock::starting_at(START));
    let journal = open(&path, &clock).expect("a new journal");
    let first = write(&journal, user(START.as_micros())).await.expect("written");
    journal.complete(first, Some("17"));
    write(&journal, user(START.as_micros() + 1)).await.expect("written");
    assert!(open(&path, &clock).is_err(), "it is in use");
    drop(journal);

    let journal = open(&path, &clock).expect("the journal");
    assert_eq!(journal.carried_out(0, 10).expect("readable").0.len(), 1);
    assert!(journal.has_failed() && journal.failed_ones(0, 10).len() == 1, "the other was never confirmed");
    clock.advance(Duration::from_secs(9 * 3600 + 1));
    write(&journal, user(clock.wall().as_micros())).await.expect("written");
    assert_eq!(journal.carried_out(0, 10).expect("readable").0.len(), 0);
    assert!(!journal.has_failed(), "nothing of it can be left to end");
}

#[tokio::test]
async fn what_failed_is_carried_out_late_and_told_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = Arc::new(ManualClock::starting_at(START));
    let journal = open(&path, &clock).expect("a new journal");
    let written = write(&journal, user(START.as_micros())).await.expect("written");
    assert!(!journal.has_failed(), "the call goes on");
    journal.failed(&written);
    let [(sequence, record)] = &journal.failed_ones(0, 10)[..] else { panic!("one failed") };
    journal.tell(*sequence, Some("17"), record.late());
    assert!(!journal.has_failed());
    assert!(journal.carried_out(0, 10).expect("readable").0[0].is_applied(), "also while it is being told");
    tokio::task::yield_now().await;
    drop(journal);
    assert!(!open(&path, &clock).expect("the journal").has_failed());
}

#[tokio::test]
async fn what_failed_too_long_ago_has_no_effect_any_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = Arc::new(ManualClock::starting_at(START));
    let journal = open(&path, &clock).expect("a new journal");
    let written = write(&journal, tenant("suspended", START.as_micros())).await.expect("written");
    journal.failed(&written);
    drop(journal);
    clock.advance(Duration::from_secs(9 * 3600));
    assert!(open(&path, &clock).expect("the journal").has_failed());
    clock.advance(Duration::from_secs(1));
    let journal = open(&path, &clock).expect("the journal");
    assert!(!journal.has_failed());
    assert_eq!(journal.carried_out(0, 10).expect("readable").0, [], "nor on another server");
}

#[tokio::test]
async fn what_could_not_be_told_is_told_by_the_next_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = Arc::new(ManualClock::starting_at(START));
    let untold = Box::new(|_| Box::pin(async { false }) as BoxFuture<'static, bool>);
    let lifetime = Duration::from_secs(3600);
    let journal = Journal::open(&path, clock.clone(), lifetime, Box::new(|_| ()), untold).expect("a new journal");
    let written = write(&journal, user(START.as_micros())).await.expect("written");
    journal.failed(&written);
    let [(sequence, record)] = &journal.failed_ones(0, 10)[..] else { panic!("one failed") };
    journal.tell(*sequence, Some("17"), record.late());
    tokio::task::yield_now().await;
    assert!(!journal.has_failed(), "not again by this run, whose log has the lines already");
    assert_eq!(journal.carried_out(0, 10).expect("readable").0.len(), 1, "yet a server that lost it gets it again");
    drop(journal);
    assert!(open(&path, &clock).expect("the journal").has_failed());
}

#[tokio::test]
async fn a_later_word_about_a_tenant_supersedes_what_failed_but_not_what_it_was_to_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = Arc::new(ManualClock::starting_at(START));
    let journal = open(&path, &clock).expect("a new journal");
    for status in ["suspended", "active", "deleted"] {
        let written = write(&journal, tenant(status, START.as_micros())).await.expect("written");
        journal.failed(&written);
        let written = write(&journal, tenant("active", START.as_micros())).await.expect("written");
        journal.complete(written, Some("0"));
    }
    let later = write(&journal, tenant("suspended", START.as_micros())).await.expect("written");
    journal.failed(&later);
    let statuses = |journal: &Journal| -> Vec<bool> {
        journal.failed_ones(0, 10).iter().map(|(_, record)| record.status().is_some()).collect()
    };
    assert_eq!(statuses(&journal), [false, false, true]);
    drop((journal, later));
    let journal = open(&path, &clock).expect("the journal");
    assert_eq!(statuses(&journal), [false, false, true], "nor is it after a restart");
    assert_eq!(journal.carried_out(0, 10).expect("readable").0.len(), 3);
}

#[tokio::test]
async fn what_waits_for_the_store_is_bounded() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::starting_at(START));
    let journal = open(&folder.path().join("journal.redb"), &clock).expect("a new journal");
    {
        let mut open = journal.open.lock();
        for sequence in 1_000_000..1_000_000 + MOST_OPEN as u64 {
            let call = Call::new(START, EndReason::Revoked, &By::Gateway);
            open.insert(sequence, Open { record: Record::new(user(1), call), stage: Progress::Failed });
        }
    }
    assert!(write(&journal, user(2)).await.is_none());
    journal.forget(1_000_000);
    assert!(write(&journal, user(2)).await.is_some());
}

#[tokio::test]
async fn the_server_that_it_was_applied_to_is_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = Arc::new(ManualClock::starting_at(START));
    let journal = open(&path, &clock).expect("a new journal");
    assert_eq!(journal.server(), None);
    journal.note_server("one");
    drop(journal);
    assert_eq!(open(&path, &clock).expect("the journal").server().as_deref(), Some("one"));
}

#[tokio::test]
async fn writes_that_come_together_share_commits_and_keep_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::starting_at(START));
    let journal = open(&folder.path().join("journal.redb"), &clock).expect("a new journal");
    let writes = (0..500).map(|n| write(&journal, user(START.as_micros() + n)));
    let written = futures_util::future::join_all(writes).await;
    assert!(written.iter().all(Option::is_some));
    assert!(written.iter().flatten().all(Written::is_durable));
    let sequences: Vec<u64> = written.iter().flatten().map(|written| written.sequence).collect();
    assert!(sequences.windows(2).all(|pair| pair[0] < pair[1]) && sequences.len() == 500);
    written.iter().flatten().for_each(|written| journal.failed(written));
    assert_eq!(journal.failed_ones(0, 1000).len(), 500);
}

#[tokio::test]
async fn a_tenant_that_was_shut_out_long_ago_stays_so_until_another_word_counts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = Arc::new(ManualClock::starting_at(START));
    let journal = open(&path, &clock).expect("a new journal");
    let shut_out = write(&journal, tenant("suspended", START.as_micros())).await.expect("written");
    journal.complete(shut_out, Some("17 suspended"));
    clock.advance(Duration::from_secs(10 * 365 * 86_400));
    let entries = || journal.carried_out(0, 10).expect("readable").0;
    for _ in 0..2 {
        let another = write(&journal, user(clock.wall().as_micros())).await.expect("written");
        journal.complete(another, Some("18"));
        assert!(entries()[0].word().is_some_and(|word| word.shuts_out), "the tenant's is the first");
    }
    let old = journal.old_words("", 10).expect("readable");
    assert_eq!(old.iter().map(|word| (&*word.tenant, word.generation)).collect::<Vec<_>>(), [("acme", 17)]);
    assert_eq!(journal.old_words("acme", 10).expect("readable"), [], "after it there is none");

    // A word that is older than what is known does not count, one that is newer does.
    for (standing, status, left) in [("16", "active", true), ("19", "active", false)] {
        let word = write(&journal, tenant(status, clock.wall().as_micros())).await.expect("written");
        journal.complete(word, Some(standing));
        clock.advance(Duration::from_secs(1));
        write(&journal, user(clock.wall().as_micros())).await.expect("written");
        write(&journal, user(clock.wall().as_micros())).await.expect("written");
        let shut_out = entries().iter().any(|record| record.word().is_some_and(|word| word.shuts_out));
        assert_eq!(shut_out, left, "after {standing} {status}");
    }
    assert_eq!(journal.old_words("", 10).expect("readable"), []);
}

#[tokio::test]
async fn of_two_words_about_a_tenant_the_later_is_kept_and_one_that_is_forgotten_counts_no_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("journal.redb");
    let clock = Arc::new(ManualClock::starting_at(START));
    let journal = open(&path, &clock).expect("a new journal");
    for (status, standing) in [("suspended", "17 suspended"), ("deleted", "18 deleted")] {
        let word = write(&journal, tenant(status, START.as_micros())).await.expect("written");
        journal.complete(word, Some(standing));
    }
    drop(journal);
    clock.advance(Duration::from_secs(365 * 86_400));
    let journal = open(&path, &clock).expect("the journal");
    for _ in 0..2 {
        write(&journal, user(clock.wall().as_micros())).await.expect("written");
    }
    let (records, _) = journal.carried_out(0, 10).expect("readable");
    assert_eq!(records.iter().filter_map(Record::word).map(|word| word.generation).collect::<Vec<_>>(), [18]);
    let [word] = &journal.old_words("", 10).expect("readable")[..] else { panic!("one is left") };
    journal.forget(word.sequence);
    write(&journal, user(clock.wall().as_micros())).await.expect("written");
    assert_eq!(journal.old_words("", 10).expect("readable"), []);
    assert_eq!(journal.carried_out(0, 10).expect("readable").0, []);
}
