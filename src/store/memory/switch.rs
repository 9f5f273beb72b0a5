//! The shared switch, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::MemoryStore;
use crate::core::circuit::Circuit;
use crate::core::disposition::Trouble;
use crate::core::schedule::{Lane, Millis};
use crate::pipeline::ports::{StoreError, Switch};

#[derive(Clone, Debug, Default)]
pub(super) struct SwitchState {
    circuit: Circuit,
    probe: Option<(String, Millis)>,
    beats: BTreeMap<String, Millis>,
}

impl SwitchState {
    /// Until when nobody sends.
    pub(super) fn paused_until(&self) -> Option<Millis> {
        self.circuit.paused_until
    }
}

impl Switch for MemoryStore {
    async fn circuit(&self) -> Result<Circuit, StoreError> {
        Ok(self.state().switch.circuit.clone())
    }

    async fn trip(&self, now: Millis, until: Millis, trouble: Option<Trouble>) -> Result<(), StoreError> {
        let circuit = &mut self.state().switch.circuit;
        if circuit.paused_until.is_none_or(|held| held <= now) {
            circuit.pauses = circuit.pauses.saturating_add(1);
        }
        circuit.paused_until = circuit.paused_until.max(Some(until));
        circuit.trouble = trouble.or(circuit.trouble);
        Ok(())
    }

    async fn may_probe(&self, owner: &str, hold: Duration) -> Result<bool, StoreError> {
        let now = self.clock.now();
        let probe = &mut self.state().switch.probe;
        if probe.as_ref().is_some_and(|(held, until)| held != owner && *until > now) {
            return Ok(false);
        }
        *probe = Some((owner.to_owned(), now.plus(hold)));
        Ok(true)
    }

    async fn close(&self, now: Millis) -> Result<(), StoreError> {
        let circuit = &mut self.state().switch.circuit;
        circuit.trouble = None;
        circuit.closed_at = Some(now);
        Ok(())
    }

    async fn recovered(&self) -> Result<(), StoreError> {
        self.state().switch.circuit.pauses = 0;
        Ok(())
    }

    async fn set_stopped(&self, lanes: &BTreeSet<Lane>, stopped: bool) -> Result<(), StoreError> {
        let held = &mut self.state().switch.circuit.stopped;
        match stopped {
            true => held.extend(lanes),
            false => held.retain(|lane| !lanes.contains(lane)),
        }
        Ok(())
    }

    async fn beat(&self, owner: &str, now: Millis) -> Result<(), StoreError> {
        self.state().switch.beats.insert(owner.to_owned(), now);
        Ok(())
    }

    async fn leave(&self, owner: &str) -> Result<(), StoreError> {
        self.state().switch.beats.remove(owner);
        Ok(())
    }

    async fn replicas(&self, since: Millis) -> Result<u64, StoreError> {
        let beats = self.state().switch.beats.values().filter(|at| **at >= since).count();
        Ok(u64::try_from(beats).unwrap_or(u64::MAX))
    }
}
