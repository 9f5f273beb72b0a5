//! Shelves of letters, in memory.

use std::collections::BTreeMap;
use std::future::ready;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::MemoryStore;
use crate::pipeline::ports::{LetterIndex, Shelf, ShelfPage, StoreError};

/// Texts by shelf and ID.
pub(super) type Shelves = BTreeMap<Shelf, BTreeMap<String, String>>;

fn answer<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, StoreError>> {
    ready(Ok(value)).boxed()
}

impl LetterIndex for MemoryStore {
    fn shelve(&self, shelf: Shelf, entries: Vec<(String, String)>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.state().shelves.entry(shelf).or_default().extend(entries);
        answer(())
    }

    fn unshelve(&self, shelf: Shelf, ids: Vec<String>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.state().shelves.entry(shelf).or_default().retain(|id, _| !ids.contains(id));
        answer(())
    }

    fn shelved(
        &self,
        shelf: Shelf,
        ids: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<String>>, StoreError>> {
        let state = self.state();
        let held = state.shelves.get(&shelf);
        answer(ids.iter().map(|id| held?.get(id).cloned()).collect())
    }

    fn shelf_page(&self, shelf: Shelf, _: u64) -> BoxFuture<'_, Result<ShelfPage, StoreError>> {
        let state = self.state();
        let held = state.shelves.get(&shelf).into_iter().flatten();
        answer((held.map(|(id, text)| (id.clone(), text.clone())).collect(), None))
    }

    fn shelf_count(&self, shelf: Shelf) -> BoxFuture<'_, Result<u64, StoreError>> {
        answer(self.state().shelves.get(&shelf).map_or(0, |held| held.len() as u64))
    }
}
