//! Shelves: what tools know of letters without looking into the queues. The queue stays the truth; a shelf can be rebuilt.

use futures_util::future::BoxFuture;

use super::StoreError;

/// What is kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shelf {
    /// The letters in `scim-relay.T.dead`.
    Dead,
    /// The letters in `scim-relay.T.parked`.
    Parked,
    /// Letters that were replayed, until their outcome is known.
    Replayed,
}

impl Shelf {
    /// The name in keys.
    pub const fn name(self) -> &'static str {
        match self {
            Shelf::Dead => "dead",
            Shelf::Parked => "parked",
            Shelf::Replayed => "replayed",
        }
    }
}

/// A page of a shelf: entries by letters' IDs, and the cursor of the next page, none at the end. Entries may repeat.
pub type ShelfPage = (Vec<(String, String)>, Option<u64>);

/// Texts by letters' IDs: heads of letters, without attribute values. Every call may be repeated. Usable without naming its
/// type, so that whoever writes letters need not be generic over it.
pub trait LetterIndex: std::fmt::Debug + Send + Sync + 'static {
    /// Writes entries: IDs and texts.
    fn shelve(&self, shelf: Shelf, entries: Vec<(String, String)>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Removes entries.
    fn unshelve(&self, shelf: Shelf, ids: Vec<String>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The entries of these IDs, in the order asked.
    fn shelved(
        &self,
        shelf: Shelf,
        ids: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<String>>, StoreError>>;

    /// A page, from cursor 0 on.
    fn shelf_page(&self, shelf: Shelf, cursor: u64) -> BoxFuture<'_, Result<ShelfPage, StoreError>>;

    /// How many entries there are.
    fn shelf_count(&self, shelf: Shelf) -> BoxFuture<'_, Result<u64, StoreError>>;
}
