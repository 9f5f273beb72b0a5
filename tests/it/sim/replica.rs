//! One process of the relay: intake and flush over the simulated world. Killing it drops everything it holds.

use std::cell::Cell;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use scim_relay::pipeline::flush::{Backlog, Flush};
use scim_relay::pipeline::gate::Gate;
use scim_relay::pipeline::intake::Intake;
use scim_relay::pipeline::letters::Letters;
use scim_relay::pipeline::ports::Clock;
use scim_relay::pipeline::recover::Recovery;
use scim_relay::pipeline::settings::Settings;

use super::broker::SimBroker;
use super::store::SimStore;
use super::target::SimTarget;

thread_local! {
    static IDS: Cell<u64> = const { Cell::new(0) };
}

/// An id that no other has; the same in each run of a seed.
pub fn next_id() -> String {
    format!("id-{}", IDS.replace(IDS.get() + 1))
}

/// Begins counting again: a new world.
pub fn reset_ids() {
    IDS.set(0);
}

/// What a replica works with.
#[derive(Clone, Debug)]
pub struct Parts {
    pub store: Arc<SimStore>,
    pub target: SimTarget,
    pub broker: SimBroker,
    pub clock: Arc<dyn Clock>,
    pub settings: Arc<Settings>,
}

/// A running process.
#[derive(Debug)]
pub struct Replica {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Replica {
    /// `number`: by which the target knows it.
    pub fn start(parts: &Parts, number: usize) -> Self {
        let Parts { store, target, broker, clock, settings } = parts.clone();
        let routes = settings.routes.clone();
        let letters =
            Letters::new(Arc::new(broker.publisher()), clock.clone(), routes, "simulation".into(), next_id);
        let letters = Arc::new(letters);
        let (wake, backlog) = (Arc::new(Notify::new()), Arc::new(Backlog::default()));
        let intake = Intake::new(
            store.clone(),
            letters.clone(),
            clock.clone(),
            settings.clone(),
            wake.clone(),
            backlog.clone(),
        );
        let gate = Arc::new(Gate::closed());
        let recovery = Recovery::new(
            store.clone(),
            letters.clone(),
            Some(broker.streams()),
            gate.clone(),
            clock.clone(),
            settings.clone(),
            next_id(),
            next_id,
        );
        let flush = Flush::new(
            store,
            Arc::new(target.seen_by(number)),
            letters,
            clock,
            settings,
            next_id(),
            wake,
            backlog,
        );
        let (intake, flush) = (intake.behind(gate.clone()), flush.behind(gate));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(intake.run(broker.consumer(), stop.clone()));
        tasks.spawn(Arc::new(flush).run(stop.clone()));
        tasks.spawn(recovery.run(stop.clone()));
        Self { tasks, stop }
    }

    /// Dies at once, wherever it stands.
    pub async fn kill(mut self) {
        self.tasks.shutdown().await;
    }

    /// Ends in good order.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap();
        }
    }

    /// Fails if a task of it has ended or panicked.
    pub fn check(&mut self) {
        if let Some(done) = self.tasks.try_join_next() {
            panic!("a task of a replica ended: {done:?}");
        }
    }
}
