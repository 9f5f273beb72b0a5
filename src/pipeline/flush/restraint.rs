//! What the configuration forbids to write: protected resources, and everything where the target is read only.

use super::Flush;
use super::batch::{Item, Items};
use crate::core::applied::at;
use crate::core::letter::Class;
use crate::core::matching::{Matcher, is_protected};
use crate::core::operation::Operation;
use crate::core::path::Path;
use crate::core::resource::ResourceKey;
use crate::core::schedule::Due;
use crate::pipeline::letters::Reason;
use crate::pipeline::ports::{Publisher, Store, StoreError, Target};
use crate::pipeline::schedule::lane;
use crate::pipeline::settings::READ_ONLY_RECHECK;

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// True while it is not known what the target calls a resource that may be protected.
    pub(super) fn must_look(&self, item: &Item) -> bool {
        !self.settings.protected.is_empty() && item.record.id.is_some() && item.live.is_none()
    }

    /// True if this resource is never written, by what the source or the target calls it.
    pub(super) fn is_protected(&self, item: &Item) -> bool {
        let live =
            |attribute: &str| at(item.live.as_ref()?, &Path::core(attribute))?.as_str().map(str::to_owned);
        let names = [
            Some(item.key.external_id.as_str().to_owned()),
            Matcher::name_of(item.key.kind).wanted(&item.key, &item.record),
            live(Matcher::name_of(item.key.kind).path()),
        ];
        is_protected(&self.settings.protected, names.into_iter().flatten())
    }

    /// What becomes of a change of a protected resource.
    pub(super) async fn settle_protected(
        &self,
        items: &mut Items,
        key: &ResourceKey,
    ) -> Result<(), StoreError> {
        let detail = "the resource is named in target.protected";
        self.settle_dead(items, key, Reason::of(Class::Protected, detail)).await
    }

    /// Reports what would be written, and looks again later.
    pub(super) async fn settle_unwritten(
        &self,
        items: &mut Items,
        key: &ResourceKey,
        operation: &Operation,
    ) -> Result<(), StoreError> {
        let Some(mut item) = items.remove(key) else { return Ok(()) };
        let (method, path) = (operation.method(), operation.path(&self.settings.dialect));
        tracing::info!(resource = %key, operation = %format!("{method} {path}"), "read only: this is not sent");
        let at = self.clock.now().plus(READ_ONLY_RECHECK);
        item.record.due = Some(Due { lane: lane(key, &item.record), at });
        self.put_back(item, &[]).await
    }
}
