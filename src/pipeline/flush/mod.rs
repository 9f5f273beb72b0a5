//! Flush: due resources are taken, planned, claimed, sent and settled, batch by batch.

mod batch;
mod claim;
mod commit;
mod company;
mod conditions;
pub mod explain;
mod guard;
mod in_flight;
mod listing;
mod lookup;
mod reason;
mod references;
mod resolve;
mod restraint;
mod round;
mod send;
mod settle;
mod start;
mod strangers;
mod unsent;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::company::Company;
use self::conditions::Tiding;
use self::in_flight::{Batch, InFlight};
use self::start::Started;
use super::gate::Gate;
use super::letters::Letters;
use super::ports::{Capabilities, Clock, Publisher, Store, StoreError, Target};
use super::settings::{LEASE, Mode, Settings};
use crate::core::circuit::Circuit;
use crate::core::gap::Rules;
use crate::core::generation::Generation;
use crate::core::health::TargetHealth;
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::schedule::{Due, Lane, Millis};

/// Lanes that wait for the backlog to be merged first (D15).
const PATIENT: [Lane; 3] = [Lane::Create, Lane::Update, Lane::Members];

/// How often the schedule is looked at when nothing wakes the flush: work that other replicas left behind.
const IDLE_POLL: Duration = Duration::from_millis(200);

/// How often a replica says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How often a batch that waits for company looks whether it is full.
const COMPANY_POLL: Duration = Duration::from_millis(20);

/// Most operations of a batch that goes out as single requests: several batches are in flight at once.
const SINGLES: usize = 32;

/// Whether intake is behind, as the flush sees it.
#[derive(Debug, Default)]
pub struct Backlog(std::sync::atomic::AtomicBool);

impl Backlog {
    /// Intake says whether the work queue holds a backlog.
    pub fn set(&self, behind: bool) {
        self.0.store(behind, std::sync::atomic::Ordering::Relaxed);
    }

    /// True while it does.
    pub fn get(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// What the flush has learnt about the target, shared by its batches.
#[derive(Debug, Default)]
struct Learnt {
    health: TargetHealth,
    /// The switch that all replicas share, and when it was looked at.
    circuit: Circuit,
    looked_at: Option<Millis>,
    /// What the other replicas are to be told.
    tidings: Vec<Tiding>,
    capabilities: Option<Capabilities>,
    /// Bulk turned out not to exist.
    no_bulk: bool,
    /// PATCH turned out not to exist.
    no_patch: bool,
    /// The most operations that went through after a 413 or a bulk that broke.
    learnt_operations: Option<usize>,
    /// Types of which the target had none when it was first asked: no lookup before a create.
    empty: BTreeSet<ResourceType>,
    /// References looked up in vain, and when.
    absent: BTreeMap<batch::Named, Millis>,
    /// Resources that this process is working on.
    in_flight: InFlight,
    company: Company,
    /// The generation of the store under which this was learnt.
    generation: Option<Generation>,
    /// When the guard was last said to have tripped.
    tripped: BTreeMap<ResourceType, Millis>,
}

/// The flush of one process.
#[derive(Debug)]
pub struct Flush<S, T, P> {
    store: Arc<S>,
    target: Arc<T>,
    letters: Arc<Letters<P>>,
    clock: Arc<dyn Clock>,
    settings: Arc<Settings>,
    owner: String,
    wake: Arc<Notify>,
    backlog: Arc<Backlog>,
    learnt: Mutex<Learnt>,
    gate: Arc<Gate>,
    /// When this process began.
    started: Millis,
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// `owner`: a random token of this process; `wake`: notified when something becomes due.
    #[expect(clippy::too_many_arguments, reason = "the one constructor that wires the flush")]
    pub fn new(
        store: Arc<S>,
        target: Arc<T>,
        letters: Arc<Letters<P>>,
        clock: Arc<dyn Clock>,
        settings: Arc<Settings>,
        owner: String,
        wake: Arc<Notify>,
        backlog: Arc<Backlog>,
    ) -> Self {
        let (learnt, started) = (Mutex::default(), clock.now());
        Self {
            store,
            target,
            letters,
            clock,
            settings,
            owner,
            wake,
            backlog,
            learnt,
            gate: Arc::default(),
            started,
        }
    }

    /// Claims and sends nothing while this gate is closed.
    pub fn behind(self, gate: Arc<Gate>) -> Self {
        Self { gate, ..self }
    }

    fn learnt(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works until `stop`, then finishes what is in flight and returns.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let permits = Arc::new(Semaphore::new(self.settings.concurrency));
        // deprovisioning waits behind nothing: one request is always left for it
        let urgent = Arc::new(Semaphore::new(1));
        let mut batches = JoinSet::new();
        let mut renewing = JoinSet::new();
        renewing.spawn(self.clone().renew_leases());
        renewing.spawn(self.clone().say_alive());
        while !stop.is_cancelled() {
            while let Some(done) = batches.try_join_next() {
                raise(done);
            }
            let pace = self.turn(&permits, &urgent, &mut batches).await;
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = self.rest(pace) => {}
                Some(done) = batches.join_next(), if !batches.is_empty() => raise(done),
                Some(done) = renewing.join_next() => raise(done),
            }
        }
        while let Some(done) = batches.join_next().await {
            raise(done);
        }
        if let Err(error) = self.store.leave(&self.owner).await {
            tracing::debug!(%error, "this replica is believed alive a little longer");
        }
    }

    /// Starts what can be started now; says when to look again.
    async fn turn(
        self: &Arc<Self>,
        permits: &Arc<Semaphore>,
        urgent: &Arc<Semaphore>,
        batches: &mut JoinSet<()>,
    ) -> Pace {
        match self.ready().await {
            Ok(None) => {}
            Ok(Some(wait)) => return Pace::Sleep(wait),
            Err(error) => return self.stumble("the target was not prepared", &error),
        }
        let limit = self.batch_limit();
        let started = [
            self.start(&[Lane::Deprovision], urgent, limit, batches).await,
            self.start(&PATIENT, permits, limit, batches).await,
        ];
        match started.into_iter().collect::<Result<Vec<Started>, StoreError>>() {
            Ok(started) if started.contains(&Started::Batch) => Pace::Again,
            Ok(started) if started.contains(&Started::Waiting) => Pace::Sleep(COMPANY_POLL),
            Ok(_) => self.until_due().await,
            Err(error) => self.stumble("nothing could be taken from the schedule", &error),
        }
    }

    fn stumble(&self, what: &str, error: &StoreError) -> Pace {
        tracing::warn!(%error, "{what}");
        self.gate.suspect();
        Pace::Sleep(Duration::from_secs(1))
    }

    /// Lets go of a resource that is settled: the rest of its batch may take long.
    async fn release(&self, key: &ResourceKey) {
        let missed = self.learnt().in_flight.release(key);
        if missed {
            self.postpone(std::slice::from_ref(key), Lane::Update, Duration::ZERO).await;
        }
    }

    /// Lets go of what is left of a batch. What became due meanwhile is held in the schedule as if somebody worked on it:
    /// it is due at once.
    async fn release_batch(&self, batch: Batch) {
        let missed = self.learnt().in_flight.release_batch(batch);
        if !missed.is_empty() {
            self.postpone(&missed, Lane::Update, Duration::ZERO).await;
        }
    }

    /// The most operations of a batch, trouble apart.
    fn most_in_batch(&self) -> usize {
        match self.transport() {
            super::ports::Transport::Bulk => self.most_operations(),
            super::ports::Transport::Single => SINGLES.min(self.settings.max_operations),
        }
    }

    fn batch_limit(&self) -> usize {
        let most = self.most_in_batch();
        self.learnt().health.batch_limit(most)
    }

    fn rules(&self) -> Rules {
        let learnt = self.learnt();
        let capabilities = learnt.capabilities.as_ref();
        Rules {
            etag: capabilities.is_some_and(|c| c.etag),
            patch: capabilities.is_none_or(|c| c.patch) && !learnt.no_patch,
            user: self.settings.user,
            group: self.settings.group,
            dialect: self.settings.dialect.clone(),
        }
    }

    fn transport(&self) -> super::ports::Transport {
        use super::ports::Transport;
        let learnt = self.learnt();
        let offered = learnt.capabilities.as_ref().is_some_and(|c| c.bulk.is_some()) && !learnt.no_bulk;
        match self.settings.mode {
            Mode::Single => Transport::Single,
            Mode::Bulk => Transport::Bulk,
            Mode::Auto if offered => Transport::Bulk,
            Mode::Auto => Transport::Single,
        }
    }

    fn most_operations(&self) -> usize {
        let learnt = self.learnt();
        let offered = learnt.capabilities.as_ref().and_then(|c| c.bulk).map(|bulk| bulk.max_operations);
        let limits =
            [Some(self.settings.max_operations), offered.filter(|n| *n > 0), learnt.learnt_operations];
        limits.into_iter().flatten().min().unwrap_or(1).max(1)
    }

    fn most_bytes(&self) -> usize {
        let offered = self.learnt().capabilities.as_ref().and_then(|c| c.bulk).map(|bulk| bulk.max_bytes);
        offered.filter(|n| *n > 0).map_or(self.settings.max_bytes, |n| n.min(self.settings.max_bytes))
    }

    async fn until_due(&self) -> Pace {
        let lanes: &[Lane] = if self.backlog.get() { &[Lane::Deprovision] } else { &Lane::ALL };
        match self.store.next_due(&self.open_lanes(lanes)).await {
            Ok(Some(at)) => {
                Pace::Sleep(at.since(self.clock.now()).clamp(Duration::from_millis(2), IDLE_POLL))
            }
            Ok(None) => Pace::Sleep(IDLE_POLL),
            Err(error) => self.stumble("the schedule could not be read", &error),
        }
    }

    async fn rest(&self, pace: Pace) {
        match pace {
            Pace::Again => {}
            Pace::Sleep(wait) => {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep(wait) => {}
                    () = self.wake.notified() => {}
                }
            }
        }
    }

    /// Says again and again that this replica lives.
    async fn say_alive(self: Arc<Self>) {
        let mut tick = tokio::time::interval(HEARTBEAT);
        loop {
            tick.tick().await;
            if let Err(error) = self.store.beat(&self.owner, self.clock.now()).await {
                tracing::debug!(%error, "no sign of life was given");
            }
        }
    }

    /// Renews the leases of everything in flight, well before they end.
    async fn renew_leases(self: Arc<Self>) {
        let mut tick = tokio::time::interval(LEASE / 4);
        loop {
            tick.tick().await;
            let held = self.learnt().in_flight.by_generation();
            for (generation, keys) in held {
                if let Err(error) = self.lease(&keys, generation).await {
                    tracing::warn!(%error, resources = keys.len(), "leases could not be renewed");
                }
            }
        }
    }

    /// Leases these resources, and remembers until when that certainly holds.
    async fn lease(&self, keys: &[ResourceKey], generation: Generation) -> Result<(), StoreError> {
        let until = now() + LEASE;
        self.store.renew(&self.owner, keys, generation, self.clock.now(), LEASE).await?;
        self.learnt().in_flight.leased(keys, generation, until);
        Ok(())
    }

    /// Until when the leases of all these resources certainly hold.
    fn leased_until(&self, keys: &[ResourceKey]) -> Instant {
        // one without a lease counts as one that has ended
        self.learnt().in_flight.leased_until(keys).unwrap_or_else(now)
    }

    /// Puts resources back into the schedule without having looked at them.
    async fn postpone(&self, keys: &[ResourceKey], lane: Lane, wait: Duration) {
        let due = Due { lane, at: self.clock.now().plus(wait) };
        let keys: Vec<(ResourceKey, Due)> = keys.iter().map(|key| (key.clone(), due)).collect();
        if let Err(error) = self.store.touch(&keys).await {
            // they are held in the schedule, and come back by themselves when that ends
            tracing::warn!(%error, resources = keys.len(), "resources could not be postponed");
        }
    }
}

/// The one place of the pipeline that reads the monotonic clock, by which leases are measured.
#[expect(
    clippy::disallowed_methods,
    reason = "deadlines are instants of the runtime, paused with it in tests"
)]
fn now() -> Instant {
    Instant::now()
}

/// When to look again.
enum Pace {
    Again,
    Sleep(Duration),
}

/// A panic in a batch ends the process, loudly.
fn raise(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}
