//! Who the master is: asked of each Sentinel that is known, each second, and heard of from them when it changes.
//!
//! It decides nothing about sessions and connects to no server: it keeps the last master that a majority named (`vote`),
//! and says since when it has. Whether that one may be used is for the fence to prove.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use redis::{AsyncConnectionConfig, PushInfo, PushKind};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::asked::{Asked, Asks, ask_all};
use super::electors::{Electors, Said};
use super::fault::Fault;
use super::lane::Lane;
use super::vote::{Named, NoMaster, decide};
use super::word::{SentinelId, Word, question, word};
use crate::clock::{Monotonic, SharedClock};
use crate::store::address::{Node, Sentinels};
use crate::store::observe::SharedObserver;

/// For a connection to be made and logged in, and again for each answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// Between two questions to one Sentinel while the master proves itself.
const EVERY: Duration = Duration::from_secs(1);
/// The same while it does not, so that their word has to do.
const URGENTLY: Duration = Duration::from_millis(250);
/// Between two questions at the least, however much news there is.
const AT_LEAST: Duration = Duration::from_millis(20);
/// What is said on it names a new master.
const NEWS: &str = "+switch-master";
/// The most that are asked.
const MOST: usize = 32;
/// The words of one that does not answer for so long are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Follows the Sentinels.
pub(super) struct Discovery {
    sentinels: Arc<Sentinels>,
    clock: SharedClock,
    observer: SharedObserver,
    heard: Mutex<Heard>,
    named: ArcSwapOption<Named>,
    /// The master, for who waits for another one.
    master: watch::Sender<Option<Node>>,
    urgent: AtomicBool,
    /// Rung when all are to be asked at once.
    hurry: Notify,
    asked: Asked,
}

#[derive(Default)]
struct Heard {
    words: BTreeMap<SentinelId, (Word, Node)>,
    /// Why there is no master.
    doubt: Option<NoMaster>,
}

impl Discovery {
    pub(super) fn new(sentinels: Arc<Sentinels>, clock: SharedClock, observer: SharedObserver) -> Self {
        Self {
            sentinels,
            clock,
            observer,
            heard: Mutex::default(),
            named: ArcSwapOption::empty(),
            master: watch::Sender::new(None),
            urgent: AtomicBool::new(true),
            hurry: Notify::new(),
            asked: Asked::default(),
        }
    }

    pub(super) const fn sentinels(&self) -> &Arc<Sentinels> {
        &self.sentinels
    }

    /// The last master that a majority named.
    pub(super) fn named(&self) -> Option<Arc<Named>> {
        self.named.load_full()
    }

    /// Hears of each other master.
    pub(super) fn masters(&self) -> watch::Receiver<Option<Node>> {
        self.master.subscribe()
    }

    /// Why no master is named now.
    pub(super) fn doubt(&self) -> String {
        let heard = self.heard.lock();
        let why =
            heard.doubt.as_ref().map_or_else(|| String::from("no Sentinel has answered yet"), NoMaster::to_string);
        let name = self.sentinels.name();
        format!("no master \"{name}\": {why}{}", self.asked.silent_in_words())
    }

    /// The Sentinels that do not answer, and why.
    pub(super) fn silent(&self) -> BTreeMap<Node, String> {
        self.asked.silent()
    }

    /// Follows them for as long as it is polled.
    pub(super) async fn run(self: Arc<Self>) {
        ask_all(self).await;
    }

    async fn ask(&self, node: &Node, lane: &Lane) -> Result<(), Fault> {
        let asked = self.clock.monotonic();
        let answers = lane.ask_each(&mut question(self.sentinels.name())).await?;
        let word = word(asked, answers)?;
        if self.asked.answers(node) {
            tracing::info!(sentinel = %node, "a Sentinel answers again");
        }
        self.take(word, node);
        Ok(())
    }

    fn take(&self, word: Word, at: &Node) {
        let mut heard = self.heard.lock();
        let now = self.clock.monotonic();
        heard.words.retain(|_, (word, _)| now.since(word.asked) < FORGOTTEN);
        if heard.words.get(&word.by).is_none_or(|(before, _)| before.others != word.others) {
            self.asked.changed();
        }
        heard.words.insert(word.by.clone(), (word, at.clone()));
        let words = heard.words.iter().map(|(id, (word, _))| (id.clone(), word.clone())).collect();
        let before = self.named.load_full();
        match decide(&words, self.sentinels.seeds().len(), now, before.as_deref()) {
            Ok(named) => {
                if heard.doubt.take().is_some_and(|doubt| !matches!(doubt, NoMaster::TooFew { heard: 0, .. })) {
                    tracing::info!(master = %named.master, "a majority of Sentinels names a master again");
                }
                let master = named.master.clone();
                let (votes, voters, election) = (named.votes, named.voters, named.election);
                self.named.store(Some(Arc::new(named)));
                let changed = self.master.send_if_modified(|known| {
                    let other = known.as_ref() != Some(&master);
                    *known = Some(master.clone());
                    other
                });
                if changed {
                    tracing::info!(%master, election, votes, voters, "the Sentinels name a master");
                    if before.is_some() {
                        self.observer.master_changed();
                    }
                }
            }
            Err(doubt) => {
                // At the start each is the first to answer.
                if before.is_some() && heard.doubt.as_ref() != Some(&doubt) {
                    tracing::warn!(cause = %doubt, "the Sentinels name no master; the last one is kept while it proves itself");
                }
                heard.doubt = Some(doubt);
            }
        }
    }
}

impl Asks for Discovery {
    fn asked(&self) -> &Asked {
        &self.asked
    }

    /// The configured ones, and those that are named by half of who answers and are not asked under another
    /// name.
    fn wanted(&self) -> BTreeSet<Node> {
        let mut wanted: BTreeSet<Node> = self.sentinels.seeds().iter().cloned().collect();
        let heard = self.heard.lock();
        let mut named: BTreeMap<(&SentinelId, &Node), usize> = BTreeMap::new();
        for (word, _) in heard.words.values() {
            for other in &word.others {
                *named.entry(other).or_default() += 1;
            }
        }
        for ((id, node), by) in named {
            let otherwise = heard.words.get(id).is_some_and(|(_, at)| at != node);
            if by * 2 >= heard.words.len() && !otherwise && wanted.len() < MOST {
                wanted.insert(node.clone());
            }
        }
        wanted
    }

    async fn attend(&self, node: &Node) -> Result<std::convert::Infallible, Fault> {
        let client = self.sentinels.sentinel(node).map_err(|error| Fault::Unfit(error.to_string()))?;
        let (news, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (heard, lost) = (Arc::clone(&news), Arc::clone(&gone));
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_push_sender(move |push: PushInfo| {
                match push.kind {
                    PushKind::Message => heard.notify_one(),
                    PushKind::Disconnection => lost.notify_one(),
                    _ => {}
                }
                Ok::<(), redis::aio::SendError>(())
            });
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(PATIENCE * 2, connecting).await.map_err(|_| Fault::Timeout)?;
        let mut connection = connection.map_err(|error| Fault::while_connecting(&error))?;
        let lane = Lane::over(connection.clone());
        self.ask(node, &lane).await?;
        // Without the right to it they are asked each second all the same.
        if let Err(error) = connection.subscribe(NEWS).await {
            let cause = Fault::from(error);
            tracing::warn!(sentinel = %node, %cause, "a Sentinel does not tell of failovers; it is asked each second");
        }
        loop {
            sleep(AT_LEAST).await;
            let pause = if self.urgent.load(Ordering::Relaxed) { URGENTLY } else { EVERY };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.hurry.notified() => {}
                // What one says all are asked about.
                () = news.notified() => self.hurry.notify_waiters(),
                () = gone.notified() => return Err(Fault::Lost(String::from("it hung up"))),
            }
            self.ask(node, &lane).await?;
        }
    }

    fn tell_of_silence(&self, node: &Node, why: &str) {
        tracing::warn!(sentinel = %node, cause = %why, "a Sentinel does not answer");
    }
}

impl Electors for Discovery {
    const WHO: &'static str = "Sentinels";

    fn since(&self, master: &Node) -> Option<Monotonic> {
        self.named().filter(|named| named.master == *master).map(|named| named.since)
    }

    fn say(&self, master: &Node) -> Option<Said> {
        let named = self.named().filter(|named| named.master == *master)?;
        Some(Said { heirs: named.heirs.clone(), elsewhere: 0 })
    }

    fn another(&self, _: &Node) -> Fault {
        Fault::Deposed(self.named().map(|named| named.master.to_string()))
    }

    fn is_strict(&self) -> bool {
        self.sentinels.is_strict()
    }

    fn is_urgent(&self, urgent: bool) {
        if !self.urgent.swap(urgent, Ordering::Relaxed) && urgent {
            self.hurry.notify_waiters();
        }
    }
}
