//! Whether anything may be sent: the pause and breaker that all replicas share, the probe, the return, stopped lanes.

use std::time::Duration;

use super::Flush;
use crate::core::disposition::Trouble;
use crate::core::outcome::{NotSent, Outcome};
use crate::core::resource::ResourceType;
use crate::core::schedule::{Lane, Millis};
use crate::pipeline::ports::{Failure, Publisher, Store, StoreError, Target};

/// How long a look at the shared switch is good for.
const FRESH: Duration = Duration::from_millis(250);
/// Longest sleep in a pause: an operator or another replica may end it.
const NAP: Duration = Duration::from_secs(1);
/// How long a replica may take to probe before another one may.
const PROBE_HOLD: Duration = Duration::from_secs(45);

/// The note of what the target can do.
const CAPABILITIES: &str = "capabilities";

/// What the other replicas are to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tiding {
    /// Nobody sends before this time.
    Trip(Millis, Option<Trouble>),
    /// A write went through again.
    Recovered,
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// Prepares the target; a time to wait if it is paused or in trouble.
    pub(super) async fn ready(&self) -> Result<Option<Duration>, StoreError> {
        if !self.gate.is_open() {
            return Ok(Some(NAP));
        }
        self.forget_after_loss();
        self.tell().await?;
        self.heed().await?;
        let now = self.clock.now();
        let (paused, trouble, known) = {
            let learnt = self.learnt();
            (learnt.health.paused_until(now), learnt.health.trouble(), learnt.capabilities.is_some())
        };
        if let Some(until) = paused {
            return Ok(Some(until.since(now).min(NAP)));
        }
        if known && trouble.is_none() {
            return Ok(None);
        }
        if trouble.is_some() && !self.store.may_probe(&self.owner, PROBE_HOLD).await? {
            return Ok(Some(FRESH));
        }
        self.probe(known).await
    }

    /// What was learnt of the target when the store was another: it is not empty any more.
    fn forget_after_loss(&self) {
        let generation = self.gate.generation();
        let mut learnt = self.learnt();
        if learnt.generation.is_some() && learnt.generation != generation {
            learnt.empty.clear();
            learnt.absent.clear();
        }
        learnt.generation = generation;
    }

    /// Asks the target what it can do: that it answers ends a trouble, for all replicas.
    async fn probe(&self, known: bool) -> Result<Option<Duration>, StoreError> {
        let capabilities = match self.target.discover().await {
            Ok(capabilities) => capabilities,
            Err(Failure::Broken(Outcome::NotSent(NotSent::Budget(why)))) => {
                tracing::warn!("the target could not be asked: {why}");
                return Ok(Some(FRESH));
            }
            Err(failure) => return Ok(Some(self.pause_for_failure(&failure).min(NAP))),
        };
        if !known {
            tracing::info!(?capabilities, "the target's capabilities are read");
            self.take_census().await;
        }
        if self.learnt().capabilities.as_ref() != Some(&capabilities) {
            // for whoever explains without asking the target
            let note = serde_json::json!(capabilities).to_string();
            self.store.remember(CAPABILITIES, &note).await?;
        }
        let troubled = {
            let mut learnt = self.learnt();
            learnt.capabilities = Some(capabilities);
            learnt.health.trouble().is_some() && {
                learnt.health.probed();
                true
            }
        };
        if troubled {
            tracing::info!("the target answers again: the return is ramped up");
            self.store.close(self.clock.now()).await?;
        }
        Ok(None)
    }

    /// Takes over what a replica last learnt about the target's capabilities.
    pub(super) async fn recall_capabilities(&self) -> Result<(), StoreError> {
        let note = self.store.recall(CAPABILITIES).await?;
        let known = note.and_then(|note| serde_json::from_str(&note).ok());
        self.learnt().capabilities = known;
        Ok(())
    }

    /// Tells the other replicas what was learnt here.
    async fn tell(&self) -> Result<(), StoreError> {
        let tidings = std::mem::take(&mut self.learnt().tidings);
        for (at, tiding) in tidings.iter().enumerate() {
            let told = match tiding {
                Tiding::Trip(until, trouble) => self.store.trip(self.clock.now(), *until, *trouble).await,
                Tiding::Recovered => self.store.recovered().await,
            };
            if let Err(error) = told {
                // told later; here it counts already
                self.learnt().tidings.splice(0..0, tidings[at..].iter().copied());
                return Err(error);
            }
        }
        if !tidings.is_empty() {
            self.learnt().looked_at = None;
        }
        Ok(())
    }

    /// Takes over what the other replicas and operators say.
    async fn heed(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        if self.learnt().looked_at.is_some_and(|at| now.since(at) < FRESH && now >= at) {
            return Ok(());
        }
        let circuit = self.store.circuit().await?;
        let mut learnt = self.learnt();
        if learnt.circuit.stopped != circuit.stopped {
            let lanes: Vec<&str> = circuit.stopped.iter().map(|lane| lane.name()).collect();
            tracing::info!(stopped = lanes.join(" "), "an operator stopped or started lanes");
        }
        learnt.health.heed(&circuit, now);
        learnt.circuit = circuit;
        learnt.looked_at = Some(now);
        Ok(())
    }

    /// Which types the target has none of: nothing can be found there, so nothing is looked up before it is created. Where it
    /// hides some, its count says nothing.
    async fn take_census(&self) {
        let shows_all = |kind: &ResourceType| self.settings.dialect.of(*kind).hidden.is_none();
        for kind in ResourceType::ALL.into_iter().filter(shows_all) {
            if let Ok(Some(0)) = self.target.count(kind).await {
                self.learnt().empty.insert(kind);
            }
        }
    }

    /// Pauses the target, here at once and for all replicas with the next turn. Says how long.
    pub(super) fn pause_for(&self, wait: Option<Duration>, trouble: Option<Trouble>, why: &str) -> Duration {
        let now = self.clock.now();
        let wait = {
            let mut learnt = self.learnt();
            let wait = learnt.health.pause(now, wait, trouble);
            learnt.tidings.push(Tiding::Trip(now.plus(wait), trouble));
            wait
        };
        let trouble = trouble.map_or("busy", Trouble::name);
        tracing::warn!(wait_ms = wait.as_millis(), "the target is paused ({trouble}): {why}");
        self.wake.notify_one();
        wait
    }

    /// A question was not answered: the target is busy, or it is at fault.
    pub(super) fn pause_for_failure(&self, failure: &Failure) -> Duration {
        let (wait, trouble) = match failure {
            Failure::Answered(answer) if answer.status == 429 || answer.retry_after.is_some() => {
                (answer.retry_after, None)
            }
            Failure::Answered(answer) if answer.status == 401 => (None, Some(Trouble::Credentials)),
            Failure::Answered(answer) if answer.status < 500 => (None, Some(Trouble::Refusing)),
            Failure::Broken(Outcome::NotSent(NotSent::Token(_))) => (None, Some(Trouble::Credentials)),
            // nothing was asked: that says nothing about the target
            Failure::Broken(Outcome::NotSent(NotSent::Budget(_))) => return Duration::ZERO,
            Failure::Answered(_) | Failure::Broken(_) => (None, Some(Trouble::Down)),
        };
        self.pause_for(wait, trouble, &failure.to_string())
    }

    /// True while nobody sends: an earlier request of the same batch, or another batch, may have met the reason.
    pub(super) fn is_paused(&self) -> bool {
        let now = self.clock.now();
        self.learnt().health.paused_until(now).is_some()
    }

    /// A write went through: the next pause begins small again.
    pub(super) fn note_success(&self) {
        let now = self.clock.now();
        let mut learnt = self.learnt();
        learnt.health.succeeded(now);
        if learnt.circuit.pauses > 0 {
            learnt.circuit.pauses = 0;
            learnt.tidings.push(Tiding::Recovered);
        }
    }

    /// Those of these lanes that no operator stopped.
    pub(super) fn open_lanes(&self, lanes: &[Lane]) -> Vec<Lane> {
        let learnt = self.learnt();
        lanes.iter().copied().filter(|lane| !learnt.circuit.stopped.contains(lane)).collect()
    }

    /// True while the return after trouble is ramped up: one batch at a time.
    pub(super) fn is_ramping(&self) -> bool {
        let most = self.most_in_batch();
        self.learnt().health.is_ramping(most)
    }
}
