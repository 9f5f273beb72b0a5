//! Shelves of letters: one hash each, read in pages.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{Cmd, cmd};

use super::RedisStore;
use crate::pipeline::ports::{LetterIndex, Shelf, ShelfPage, StoreError};

/// Entries in a page; Redis answers nobody else meanwhile.
const PAGE: usize = 1_000;

impl RedisStore {
    /// A command on a shelf.
    fn on_shelf(&self, name: &str, shelf: Shelf) -> Cmd {
        let mut command = cmd(name);
        command.arg(self.keys.shelf(shelf));
        command
    }
}

impl LetterIndex for RedisStore {
    fn shelve(&self, shelf: Shelf, entries: Vec<(String, String)>) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            for page in entries.chunks(PAGE) {
                let mut command = self.on_shelf("HSET", shelf);
                for (id, text) in page {
                    command.arg(id).arg(text);
                }
                let _: u64 = self.link.query("index letters", command).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn unshelve(&self, shelf: Shelf, ids: Vec<String>) -> BoxFuture<'_, Result<(), StoreError>> {
        async move {
            for page in ids.chunks(PAGE) {
                let mut command = self.on_shelf("HDEL", shelf);
                command.arg(page);
                let _: u64 = self.link.query("take letters out of the index", command).await?;
            }
            Ok(())
        }
        .boxed()
    }

    fn shelved(
        &self,
        shelf: Shelf,
        ids: Vec<String>,
    ) -> BoxFuture<'_, Result<Vec<Option<String>>, StoreError>> {
        async move {
            let mut found = Vec::with_capacity(ids.len());
            for page in ids.chunks(PAGE) {
                let mut command = self.on_shelf("HMGET", shelf);
                command.arg(page);
                let texts: Vec<Option<String>> =
                    self.link.query("read the index of letters", command).await?;
                found.extend(texts);
            }
            Ok(found)
        }
        .boxed()
    }

    fn shelf_page(&self, shelf: Shelf, cursor: u64) -> BoxFuture<'_, Result<ShelfPage, StoreError>> {
        async move {
            let mut command = self.on_shelf("HSCAN", shelf);
            command.arg(cursor).arg("COUNT").arg(PAGE);
            let (next, entries): (u64, Vec<(String, String)>) =
                self.link.query("read the index of letters", command).await?;
            Ok((entries, (next != 0).then_some(next)))
        }
        .boxed()
    }

    fn shelf_count(&self, shelf: Shelf) -> BoxFuture<'_, Result<u64, StoreError>> {
        let command = self.on_shelf("HLEN", shelf);
        async move { self.link.query("count indexed letters", command).await }.boxed()
    }
}
