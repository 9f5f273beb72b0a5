//! The gate: under which generation of the store the stages work, and whether anything may be claimed and sent (design D2).

use std::collections::BTreeSet;

use tokio::sync::{Notify, watch};

use crate::core::generation::{Cause, Generation, Stamp};

/// How the gate stands.
#[derive(Clone, Debug, Default, PartialEq)]
enum Passage {
    /// Nobody watches the store: everything passes.
    #[default]
    Unguarded,
    /// Nothing is known of the store.
    Unknown,
    /// Merging goes on, nothing is sent.
    Closed(Stamp),
    /// All goes on.
    Open(Stamp),
}

/// What is known of what was said before.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Memory {
    /// Nobody watches the store: it has lost nothing.
    Whole,
    /// What this generation of the store knows.
    Of(Stamp),
    /// A recovery is to find out.
    NotYet,
}

/// Shared by the stages of one process.
#[derive(Debug, Default)]
pub struct Gate {
    passage: watch::Sender<Passage>,
    suspected: Notify,
}

impl Gate {
    /// Closed until the store was looked at.
    pub fn closed() -> Self {
        Self { passage: watch::Sender::new(Passage::Unknown), suspected: Notify::new() }
    }

    /// Everything that was loaded under this generation may be claimed and sent.
    pub(super) fn open(&self, stamp: Stamp) {
        self.passage.send_replace(Passage::Open(stamp));
    }

    /// What arrives is merged under this generation, and nothing is sent.
    pub(super) fn close(&self, stamp: Stamp) {
        self.passage.send_replace(Passage::Closed(stamp));
    }

    /// The store could not be looked at, or has lost something: nothing is sent.
    pub(super) fn doubt(&self) {
        self.passage.send_modify(|passage| {
            *passage = match std::mem::take(passage) {
                Passage::Open(stamp) | Passage::Closed(stamp) => Passage::Closed(stamp),
                Passage::Unknown => Passage::Unknown,
                Passage::Unguarded => Passage::Unguarded,
            }
        });
    }

    /// True while anything may be claimed and sent.
    pub fn is_open(&self) -> bool {
        matches!(*self.passage.borrow(), Passage::Unguarded | Passage::Open(_))
    }

    /// True if what was loaded under this generation may be claimed and sent.
    pub(super) fn allows(&self, generation: Generation) -> bool {
        match &*self.passage.borrow() {
            Passage::Unguarded => true,
            Passage::Open(stamp) => stamp.generation == generation,
            Passage::Unknown | Passage::Closed(_) => false,
        }
    }

    /// True unless the store is watched, and these servers are others than it was stamped on.
    pub(super) fn knows(&self, nodes: &BTreeSet<String>) -> bool {
        match &*self.passage.borrow() {
            Passage::Unguarded => true,
            Passage::Open(stamp) => nodes.is_subset(&stamp.nodes),
            Passage::Unknown | Passage::Closed(_) => false,
        }
    }

    /// True if somebody watches the store.
    pub(super) fn is_watched(&self) -> bool {
        *self.passage.borrow() != Passage::Unguarded
    }

    /// The generation that is open; none while nothing may be sent, or nobody watches.
    pub(super) fn generation(&self) -> Option<Generation> {
        match &*self.passage.borrow() {
            Passage::Open(stamp) => Some(stamp.generation),
            Passage::Unguarded | Passage::Unknown | Passage::Closed(_) => None,
        }
    }

    /// By what a letter is judged.
    pub(super) fn memory(&self) -> Memory {
        match &*self.passage.borrow() {
            Passage::Unguarded => Memory::Whole,
            Passage::Unknown => Memory::NotYet,
            Passage::Open(stamp) | Passage::Closed(stamp) => match stamp.ready || stamp.cause == Cause::First
            {
                true => Memory::Of(stamp.clone()),
                false => Memory::NotYet,
            },
        }
    }

    /// True if this process has worked with a stamped store.
    pub(super) fn was_stamped(&self) -> bool {
        match &*self.passage.borrow() {
            Passage::Open(_) | Passage::Closed(_) => true,
            Passage::Unguarded | Passage::Unknown => false,
        }
    }

    /// Somebody noticed that the store has lost something.
    pub(super) fn suspect(&self) {
        self.suspected.notify_one();
    }

    pub(super) async fn suspected(&self) {
        self.suspected.notified().await;
    }

    /// Waits until it is known under which generation to merge.
    pub(super) async fn stands(&self) {
        let mut passage = self.passage.subscribe();
        // the sender lives as long as this
        let _ = passage.wait_for(|passage| *passage != Passage::Unknown).await;
    }
}
