//! Telling groups what has changed about users whom they list: who has left goes, who is back returns. The record says what
//! they were last told; it is written first, so that whoever looks finds it, and untold until all of them are due.

use super::Flush;
use super::batch::Item;
use crate::core::listing::listing;
use crate::core::record::Record;
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::schedule::{Due, Lane};
use crate::pipeline::ports::{Load, Publisher, Reschedule, Store, StoreError, Swapped, Target};

/// Groups that are made due in one call.
const GROUPS_PER_CALL: usize = 500;

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// True if groups are to be told something of this resource.
    pub(super) fn is_untold(&self, key: &ResourceKey, record: &Record) -> bool {
        record.untold || record.listing != listing(key, record, self.settings.memberships)
    }

    /// Tells the groups that list this user what has changed. If something was merged meanwhile, the begin or the
    /// settlement finds out, and it starts over.
    pub(super) async fn tell_groups(&self, item: &mut Item) -> Result<(), StoreError> {
        let listing = listing(&item.key, &item.record, self.settings.memberships);
        if item.record.listing != listing {
            let mut told = item.clone();
            (told.record.listing, told.record.untold) = (listing, true);
            let Some(Swapped::Done { version, .. }) =
                self.store.swap(&[told.swap(Reschedule::Keep, &[])]).await?.pop()
            else {
                return Ok(());
            };
            *item = Item { version, ..told };
        }
        if item.record.untold {
            let dependents = self.store.dependents(&item.key).await?;
            let due = Due { lane: Lane::Members, at: self.clock.now() };
            let groups = dependents.into_iter().filter(|dependent| dependent.kind == ResourceType::Group);
            let groups: Vec<(ResourceKey, Due)> = groups.map(|group| (group, due)).collect();
            for some in groups.chunks(GROUPS_PER_CALL) {
                self.store.touch_member(some, item.key.external_id.as_str(), false).await?;
            }
            item.record.untold = false;
            item.changed = true;
        }
        Ok(())
    }

    /// Registers a group with members who have left, so that it is told when they are back; true if one is by now.
    pub(super) async fn is_anyone_back(
        &self,
        group: &ResourceKey,
        left: &[ResourceKey],
    ) -> Result<bool, StoreError> {
        if left.is_empty() {
            return Ok(false);
        }
        self.register(group, left).await?;
        let loads: Vec<Load> =
            left.iter().map(|key| Load { key: key.clone(), members: Vec::new() }).collect();
        Ok(self.store.load(&loads).await?.iter().any(|loaded| !loaded.record.listing.left))
    }
}
