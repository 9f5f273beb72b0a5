//! The index of letters: whether it agrees with the queue, and building it anew.

use std::collections::BTreeSet;
use std::time::Duration;

use super::audit::Progress;
use super::desk::{Desk, Place, broker_failed};
use super::lock::Lock;
use super::reading::name_resource;
use crate::app::{Failure, failed};
use crate::broker::scan::{Pass, Seen, Twins};
use crate::cli::Exit;
use crate::pipeline::ports::LetterIndex;

/// Heads written at once.
const CHUNK: usize = 500;
/// How often index and queue are compared before they count as different: letters come and go meanwhile.
const COMPARED: usize = 8;
/// Between these.
const BETWEEN: Duration = Duration::from_millis(50);

/// `dead reindex`.
pub(super) async fn reindex_now(desk: &Desk, place: Place) -> Result<Exit, Failure> {
    let letters =
        Lock::within(desk, &desk.queue(place), "reindex", async |lock| rebuild(desk, place, lock).await)
            .await?;
    println!("{letters} letters indexed");
    Ok(Exit::Done)
}

/// Makes the index agree with the queue, for a command that holds its lock.
pub(super) async fn refresh(desk: &Desk, place: Place, lock: &Lock) -> Result<(), Failure> {
    if let Some(difference) = difference(desk, place).await? {
        eprintln!("{difference}: indexing `{}` anew", desk.queue(place));
        rebuild(desk, place, lock).await?;
    }
    Ok(())
}

/// Makes the index agree with the queue, for a command that only looks.
pub(super) async fn refresh_to_look(desk: &Desk, place: Place) -> Result<(), Failure> {
    if difference(desk, place).await?.is_none() {
        return Ok(());
    }
    Lock::within(desk, &desk.queue(place), "reindex", async |lock| refresh(desk, place, lock).await).await
}

async fn difference(desk: &Desk, place: Place) -> Result<Option<String>, Failure> {
    let queue = desk.queue(place);
    let mut counts = (0, 0);
    for attempt in 0..COMPARED {
        if attempt > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
        let ready = u64::from(desk.inspector.ready(&queue).await.map_err(broker_failed)?);
        let indexed = desk.store.shelf_count(place.shelf()).await.map_err(failed)?;
        if ready == indexed {
            return Ok(None);
        }
        counts = (ready, indexed);
    }
    Ok(Some(format!("{} letters are in the queue and {} in the index", counts.0, counts.1)))
}

/// Reads the whole queue. What is in the index and was not seen is gone, unless it came meanwhile.
async fn rebuild(desk: &Desk, place: Place, lock: &Lock) -> Result<usize, Failure> {
    let (shelf, queue, now) = (place.shelf(), desk.queue(place), desk.now());
    let mut before = BTreeSet::new();
    desk.each(place, |head| before.extend([head.id])).await?;
    let mut pass = Pass::begin(&desk.broker, &queue).await.map_err(broker_failed)?;
    let mut progress = Progress::of("indexed", pass.expected());
    let (mut twins, mut entries, mut letters) = (Twins::default(), Vec::new(), 0);
    while let Some(mut found) = pass.next().await.map_err(broker_failed)? {
        if twins.seen(&found) {
            // the broker holds the same letter twice: one of them is enough
            pass.take(&found).await.map_err(broker_failed)?;
            continue;
        }
        name_resource(&mut found, &desk.settings, now);
        entries.push((found.head.id.clone(), found.head.to_json()));
        letters += 1;
        if entries.len() >= CHUNK {
            lock.check()?;
            desk.store.shelve(shelf, std::mem::take(&mut entries)).await.map_err(failed)?;
            progress.at(letters);
        }
    }
    desk.store.shelve(shelf, entries).await.map_err(failed)?;
    if pass.end().await.map_err(broker_failed)? == Seen::All {
        let gone = before.into_iter().filter(|id| !twins.has(id)).collect();
        desk.store.unshelve(shelf, gone).await.map_err(failed)?;
    }
    progress.end();
    Ok(letters)
}
