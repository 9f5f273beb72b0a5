//! The store's generation: a token in each of its parts, by which a loss is noticed and what was loaded before it refused.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use super::StoreError;
use crate::core::generation::Generation;

/// Generations of the store. Every call may be repeated.
pub trait Stamps: Send + Sync + 'static {
    /// The generation of each part; none where it has none.
    fn generations(&self) -> impl Future<Output = Result<Vec<Option<Generation>>, StoreError>> + Send;

    /// Writes this generation into every part.
    fn stamp(&self, generation: Generation) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The servers that hold the store now, by their run ids.
    fn nodes(&self) -> impl Future<Output = Result<BTreeSet<String>, StoreError>> + Send;

    /// From now on records are loaded and written under this generation: a part that has another refuses them.
    fn adopt(&self, generation: Generation);

    /// Lets one replica recover. True for the one that may, for so long.
    fn may_recover(
        &self,
        owner: &str,
        hold: Duration,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}
