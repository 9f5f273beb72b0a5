//! Merging what lies in the journal, for recoveries and rewinds.

use std::sync::Arc;

use super::Intake;
use crate::pipeline::letters::Letters;
use crate::pipeline::ports::{Clock, Delivery, Entry, Message, Publisher, Source, Store};
use crate::pipeline::settings::Settings;

impl<S: Store, P: Publisher> Intake<S, P> {
    /// Merges what the journal holds: nobody waits for it, and there is no queue whose backlog counts.
    pub(in crate::pipeline) fn of_journal(
        store: Arc<S>,
        letters: Arc<Letters<P>>,
        clock: Arc<dyn Clock>,
        settings: Arc<Settings>,
    ) -> Self {
        Self::new(store, letters, clock, settings, Arc::default(), Arc::default())
    }

    /// An entry as if it were delivered: there is nothing to acknowledge.
    pub(in crate::pipeline) fn delivered(&self, entry: Entry) -> Delivery {
        let from_publishers = self.is_from_publishers(&entry.message);
        let (session, source, tag) = (0, Source::Journal, entry.offset);
        Delivery { session, source, tag, from_publishers, message: entry.message, redeliveries: 0 }
    }

    /// True if a message did not come through the relay's own exchange.
    pub(in crate::pipeline) fn is_from_publishers(&self, message: &Message) -> bool {
        message.exchange != self.settings.routes.intake
    }
}
