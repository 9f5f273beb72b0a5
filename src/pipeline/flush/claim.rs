//! Claiming: what is to be written is leased and written down before anything is sent.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Flush;
use super::batch::{Claimed, Items, Ready};
use crate::core::generation::Generation;
use crate::core::resource::ResourceKey;
use crate::core::schedule::Lane;
use crate::core::settle;
use crate::pipeline::ports::{OtherGeneration, Publisher, Reschedule, Store, StoreError, Swapped, Target};

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// Leases and claims: written down before anything is sent. What was merged meanwhile is planned again.
    pub(super) async fn begin(
        &self,
        mut items: Items,
        ready: Vec<(ResourceKey, Ready)>,
    ) -> Result<Vec<Claimed>, StoreError> {
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<ResourceKey> = ready.iter().map(|(key, _)| key.clone()).collect();
        let generations: BTreeSet<Generation> =
            keys.iter().filter_map(|key| items.get(key)).map(|item| item.version.generation).collect();
        for generation in generations {
            if !self.gate.allows(generation) {
                return Err(StoreError { what: "claim resources".into(), source: OtherGeneration.into() });
            }
            self.lease(&keys, generation).await?;
        }
        let (mut claims, mut swaps) = (Vec::new(), Vec::new());
        for (key, ready) in ready {
            let Some(mut item) = items.remove(&key) else { continue };
            settle::begin(&mut item.record, &mut item.entries, &ready.operation, &ready.sent, &self.owner);
            swaps.push(item.swap(Reschedule::Keep, &ready.touched()));
            claims.push(Claimed { item, ready, news: false, touched: false });
        }
        let swapped = self.store.swap(&swaps).await?;
        let (mut begun, mut missed) = (Vec::new(), Vec::new());
        for (mut claim, swapped) in claims.into_iter().zip(swapped) {
            match swapped {
                Swapped::Done { version, dependents } => {
                    // adopted just now: it has an id before anything is sent
                    self.wake_dependents(&claim.item.key, &claim.item.record, dependents).await?;
                    claim.item.version = version;
                    begun.push(claim);
                }
                Swapped::Conflict => missed.push(claim.item.key),
            }
        }
        self.postpone(&missed, Lane::Update, Duration::ZERO).await;
        self.on_the_same_server().await?;
        Ok(begun)
    }

    /// Asked between the claim and the send: a server that took over in between may not know of the claim, and nobody can
    /// claim there before it was recovered.
    async fn on_the_same_server(&self) -> Result<(), StoreError> {
        if !self.gate.is_watched() || self.gate.knows(&self.store.nodes().await?) {
            return Ok(());
        }
        self.gate.suspect();
        Err(StoreError { what: "claim resources".into(), source: OtherGeneration.into() })
    }
}
