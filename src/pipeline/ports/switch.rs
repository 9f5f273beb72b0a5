//! What all replicas know of the target together: a pause, who may probe, lanes that an operator stopped, who is alive.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use super::StoreError;
use crate::core::circuit::Circuit;
use crate::core::disposition::Trouble;
use crate::core::schedule::{Lane, Millis};

/// The switch that all replicas share. Every call may be repeated.
pub trait Switch: Send + Sync + 'static {
    /// Its position.
    fn circuit(&self) -> impl Future<Output = Result<Circuit, StoreError>> + Send;

    /// Nobody sends before `until`; a later time that is set already holds. `trouble`: what must be probed away first.
    fn trip(
        &self,
        now: Millis,
        until: Millis,
        trouble: Option<Trouble>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// True for the one replica that may probe until `hold` is over.
    fn may_probe(&self, owner: &str, hold: Duration)
    -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// The probe answered: the trouble is over, the return is ramped up from `now`.
    fn close(&self, now: Millis) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// A write went through again: the next pause begins small.
    fn recovered(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// An operator stops or starts these lanes.
    fn set_stopped(
        &self,
        lanes: &BTreeSet<Lane>,
        stopped: bool,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// This replica is alive.
    fn beat(&self, owner: &str, now: Millis) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// This replica ends.
    fn leave(&self, owner: &str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How many replicas were alive since.
    fn replicas(&self, since: Millis) -> impl Future<Output = Result<u64, StoreError>> + Send;
}
