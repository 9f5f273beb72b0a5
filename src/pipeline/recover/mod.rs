//! Recovery (design D2): the store's generation is watched, and after a loss the whole journal is merged again while nothing
//! is sent. What it touches is read at the target before anything is written.

mod append;
mod history;
mod mark;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(super) use self::history::gap;
pub(crate) use self::mark::Mark;
use super::gate::Gate;
use super::intake::{Again, Intake, Unsettled};
use super::letters::Letters;
use super::ports::{Clock, Guard, PublishError, Publisher, SessionEnded, Stamps, Store, StoreError, Stream};
use super::settings::{LEASE, Settings};
use crate::core::generation::{Cause, Finding, Generation, Stamp, Standing};

/// How often the store is looked at.
const WATCH: Duration = Duration::from_secs(1);
/// How long one replica recovers without saying that it still does.
const HOLD: Duration = Duration::from_secs(15);
/// How often the generation is said again in the journal, lest truncation take the last word on it.
const SAID_AGAIN: Duration = Duration::from_secs(3_600);
/// The notes in which the store keeps its stamp, and the last sign of life.
pub(super) const STAMP: &str = "stamp";
const BEAT: &str = "beat";

/// What the store says about its generation; none: nobody has stamped it.
pub async fn stamp<S: Store>(store: &S) -> Result<Option<Stamp>, StoreError> {
    // one that can't be read is none
    Ok(store.recall(STAMP).await?.and_then(|text| serde_json::from_str(&text).ok()))
}

/// Why a recovery stopped. It begins again.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Session(#[from] SessionEnded),
    #[error(transparent)]
    Merge(#[from] Unsettled),
    #[error("another replica recovers now")]
    Another,
    #[error("the journal tells of an earlier generation: the store has lost it")]
    NotTheFirst,
    #[error("the store has lost something again")]
    LostAgain,
    #[error("a stamp could not be written: {0}")]
    Unwritable(#[from] serde_json::Error),
}

/// The streams that a recovery reads.
#[derive(Debug)]
pub struct Streams<J> {
    /// All that is to be merged.
    pub journal: J,
    /// All that was settled.
    pub outcomes: J,
}

/// Watches the store, and recovers it.
#[derive(Debug)]
pub struct Recovery<S, P, J> {
    store: Arc<S>,
    letters: Arc<Letters<P>>,
    /// None: `journal.enabled` is false.
    streams: Option<Arc<Streams<J>>>,
    gate: Arc<Gate>,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    owner: String,
    ids: fn() -> String,
}

impl<S: Store + Stamps + Guard, P: Publisher, J: Stream> Recovery<S, P, J> {
    /// `owner`: a random token of this process; `ids` makes names that no other has.
    #[expect(clippy::too_many_arguments, reason = "the one constructor that wires the recovery")]
    pub fn new(
        store: Arc<S>,
        letters: Arc<Letters<P>>,
        streams: Option<Streams<J>>,
        gate: Arc<Gate>,
        clock: Arc<dyn Clock>,
        settings: Arc<Settings>,
        owner: String,
        ids: fn() -> String,
    ) -> Self {
        Self { store, letters, streams: streams.map(Arc::new), gate, clock, settings, owner, ids }
    }

    /// Watches until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let (mut following, mut appending) = (JoinSet::new(), JoinSet::new());
        appending.spawn(this.clone().append_old());
        loop {
            let wait = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                looked = this.look(&mut following) => match looked {
                    Ok(wait) => wait,
                    Err(error) => {
                        this.gate.doubt();
                        tracing::warn!(%error, "the store is not known to be whole: nothing is sent");
                        WATCH
                    }
                },
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = this.gate.suspected() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        following.shutdown().await;
        appending.shutdown().await;
    }

    async fn look(self: &Arc<Self>, following: &mut JoinSet<()>) -> Result<Duration, Interrupted> {
        let now = self.clock.now();
        let standing = self.standing().await?;
        match standing.judge(now) {
            Finding::Ready(stamp) => {
                self.store.adopt(stamp.generation);
                self.gate.open(stamp.clone());
                self.store.remember(BEAT, &now.0.to_string()).await?;
                self.follow_on(stamp, following).await?;
                Ok(WATCH)
            }
            Finding::Recovering(stamp) => {
                self.store.adopt(stamp.generation);
                self.gate.close(stamp.clone());
                if !self.store.may_recover(&self.owner, HOLD).await? {
                    return Ok(WATCH / 2);
                }
                match self.recover(&stamp, following).await {
                    Err(Interrupted::NotTheFirst) => self.begin(Cause::Emptied, &standing).await?,
                    done => done?,
                }
                Ok(Duration::ZERO)
            }
            Finding::Lost(cause) => {
                self.gate.doubt();
                if !self.store.may_recover(&self.owner, HOLD).await? {
                    return Ok(WATCH / 2);
                }
                let cause = self.first_or(cause, &standing);
                self.begin(cause, &standing).await?;
                Ok(Duration::ZERO)
            }
        }
    }

    /// A store that nobody ever stamped may be a new one. Whoever has seen it stamped knows better, and so does the journal.
    fn first_or(&self, cause: Cause, standing: &Standing) -> Cause {
        let unstamped = standing.stamp.is_none() && standing.parts.iter().all(Option::is_none);
        if unstamped && !self.gate.was_stamped() { Cause::First } else { cause }
    }

    async fn standing(&self) -> Result<Standing, StoreError> {
        let beat = self.store.recall(BEAT).await?;
        Ok(Standing {
            stamp: stamp(&*self.store).await?,
            parts: self.store.generations().await?,
            nodes: self.store.nodes().await?,
            beat: beat.and_then(|text| text.parse().ok()).map(crate::core::schedule::Millis),
        })
    }

    /// Begins a new generation: what was loaded under another is refused from now on.
    async fn begin(&self, cause: Cause, standing: &Standing) -> Result<(), Interrupted> {
        let generation = Generation::named(&(self.ids)());
        let nodes = standing.nodes.clone();
        let stamp = Stamp { generation, cause, since: self.clock.now(), ready: false, nodes, begins: None };
        self.write(&stamp).await?;
        self.store.stamp(generation).await?;
        match cause {
            Cause::First => tracing::info!(%generation, "the store is new"),
            Cause::Emptied | Cause::Moved => {
                tracing::warn!(%generation, cause = cause.name(), "the store has lost something: it is recovered");
            }
        }
        Ok(())
    }

    async fn write(&self, stamp: &Stamp) -> Result<(), Interrupted> {
        let text = serde_json::to_string(stamp)?;
        Ok(self.store.remember(STAMP, &text).await?)
    }

    /// Merges the journal, and opens the gate.
    async fn recover(
        self: &Arc<Self>,
        stamp: &Stamp,
        following: &mut JoinSet<()>,
    ) -> Result<(), Interrupted> {
        let began = self.clock.now();
        let mut stamp = stamp.clone();
        match &self.streams {
            None if stamp.cause == Cause::First => {}
            None => {
                stamp.begins = Some(stamp.since);
                tracing::error!(
                    "journal.enabled is false: what was pending is lost with the store, and must be published again"
                );
            }
            Some(streams) => {
                let (settled, reader) = self.read_all(streams, &mut stamp).await?;
                self.wait_for_leases(&stamp).await?;
                self.look_again(&stamp, &settled).await?;
                self.follow(reader, following);
            }
        }
        let took = self.clock.now().since(began).as_secs_f64();
        if self.streams.is_some() {
            self.letters.mark(&Mark::of(&stamp, self.clock.now())).await?;
        }
        self.still_ours(&stamp).await?;
        stamp.ready = true;
        self.write(&stamp).await?;
        if stamp.cause != Cause::First {
            metrics::counter!("scim_relay_recoveries_total", "reason" => stamp.cause.name()).increment(1);
            tracing::warn!(took_s = took, cause = stamp.cause.name(), "the store is recovered");
        }
        Ok(())
    }

    /// After a loss there are no claims for one lease: whoever held one may still be sending.
    async fn wait_for_leases(&self, stamp: &Stamp) -> Result<(), Interrupted> {
        if stamp.cause == Cause::First {
            return Ok(());
        }
        let until = stamp.since.plus(LEASE);
        while self.clock.now() < until {
            self.still_ours(stamp).await?;
            tokio::time::sleep(WATCH.min(until.since(self.clock.now()))).await;
        }
        Ok(())
    }

    /// Goes on holding the recovery; fails if the store has lost it, or somebody else has it.
    async fn still_ours(&self, stamp: &Stamp) -> Result<(), Interrupted> {
        let parts = self.store.generations().await?;
        if parts.iter().any(|part| *part != Some(stamp.generation)) {
            return Err(Interrupted::LostAgain);
        }
        match self.store.may_recover(&self.owner, HOLD).await? {
            true => Ok(()),
            false => Err(Interrupted::Another),
        }
    }

    /// What is merged from the journal.
    fn merger(&self, again: Option<Again>) -> Intake<S, P> {
        Intake::of_journal(
            self.store.clone(),
            self.letters.clone(),
            self.clock.clone(),
            self.settings.clone(),
        )
        .again(again)
    }
}

impl Mark {
    fn of(stamp: &Stamp, at: crate::core::schedule::Millis) -> Self {
        Mark::Generation { generation: stamp.generation, cause: stamp.cause, at }
    }
}
