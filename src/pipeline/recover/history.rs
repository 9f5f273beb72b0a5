//! Reading the streams again: the journal up to a mark, then on behind it; the outcomes of the last day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{Interrupted, Mark, Recovery, SAID_AGAIN, STAMP, Streams, WATCH};
use crate::core::generation::{Cause, RECENT, Stamp};
use crate::core::guard::Window;
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::schedule::Millis;
use crate::core::settled::Settled;
use crate::pipeline::gate::Gate;
use crate::pipeline::intake::{Again, Intake, Lost};
use crate::pipeline::operator;
use crate::pipeline::ports::{Delivery, Entry, From, Guard, Publisher, Stamps, Store, Stream, StreamReader};
use crate::pipeline::settings::LEASE;

/// How often the journal is marked behind the end of a recovery.
const FOLLOW_EVERY: Duration = Duration::from_secs(60);
/// So many marks in a row are read back promptly, and the work queue is not ahead of the journal any more.
const PROMPT_MARKS: u32 = 10;
/// A mark that is read back within this was prompt.
const PROMPT: Duration = Duration::from_secs(10);
/// How often progress is told.
const PROGRESS: u64 = 100_000;

impl<S: Store + Stamps + Guard, P: Publisher, J: Stream> Recovery<S, P, J> {
    /// Reads both streams; returns what was settled lately, and the reader of the journal where it stands.
    pub(super) async fn read_all(
        &self,
        streams: &Streams<J>,
        stamp: &mut Stamp,
    ) -> Result<(BTreeMap<ResourceKey, Millis>, J::Reader), Interrupted> {
        let settled = match stamp.cause {
            Cause::First => BTreeMap::new(),
            Cause::Emptied | Cause::Moved => self.read_outcomes(streams, stamp).await?,
        };
        let reader = self.read_journal(streams, stamp, &settled).await?;
        Ok((settled, reader))
    }

    /// The outcomes of the last day: who took a place in the windows of the guard, and what was settled lately.
    async fn read_outcomes(
        &self,
        streams: &Streams<J>,
        stamp: &Stamp,
    ) -> Result<BTreeMap<ResourceKey, Millis>, Interrupted> {
        let now = self.clock.now();
        let (day, lately) = (Window::Day.before(now), now.minus(RECENT));
        let end = Mark::End { reading: (self.ids)() };
        self.letters.mark_outcomes(&end).await?;
        let mut reader = streams.outcomes.read(From::Time(day)).await?;
        let (mut settled, mut places) = (BTreeMap::new(), BTreeMap::<ResourceKey, Millis>::new());
        'reading: loop {
            self.still_ours(stamp).await?;
            for entry in reader.next().await? {
                if Mark::read(&entry.message).as_ref() == Some(&end) {
                    break 'reading;
                }
                let Ok(outcome) = serde_json::from_slice::<Settled>(&entry.message.body) else { continue };
                let Some(key) = outcome.key().filter(|_| outcome.at > day) else { continue };
                if outcome.deprovisions() {
                    places.insert(key.clone(), outcome.at);
                }
                if outcome.at > lately {
                    settled.insert(key, outcome.at);
                }
            }
        }
        for kind in ResourceType::ALL {
            let taken: Vec<(ResourceKey, Millis)> = places
                .iter()
                .filter(|(key, _)| key.kind == kind)
                .map(|(key, at)| (key.clone(), *at))
                .collect();
            self.store.restore(kind, &taken).await?;
        }
        Ok(settled)
    }

    /// Merges the whole journal again, up to a mark of its own.
    async fn read_journal(
        &self,
        streams: &Streams<J>,
        stamp: &mut Stamp,
        settled: &BTreeMap<ResourceKey, Millis>,
    ) -> Result<J::Reader, Interrupted> {
        let end = Mark::End { reading: (self.ids)() };
        self.letters.mark(&end).await?;
        let mut reader = streams.journal.read(From::First).await?;
        let lost = match stamp.cause {
            Cause::First => None,
            Cause::Emptied => Some(Lost::All),
            Cause::Moved => Some(Lost::Some(settled.keys().cloned().collect())),
        };
        // who held a claim may have gone on sending until the lease ended
        let until = stamp.since.plus(LEASE + self.settings.late_window);
        let memory = Arc::new(Gate::closed());
        let merger = self.merger(lost.map(|lost| Again { lost, until })).behind(memory.clone());
        let (mut read, mut last): (u64, Option<u64>) = (0, None);
        let mut looked = self.clock.now();
        loop {
            let entries = reader.next().await?;
            if self.clock.now().since(looked) >= WATCH {
                self.still_ours(stamp).await?;
                looked = self.clock.now();
            }
            let truncated = last.is_none() && entries.first().is_some_and(|entry| entry.offset > 0);
            if truncated && stamp.begins.is_none() {
                // until a mark says from when the beginning is, nothing before now is known
                stamp.begins = Some(self.clock.now());
            }
            gap(&mut last, &entries);
            memory.open(read_so_far(stamp));
            for entry in &entries {
                match Mark::read(&entry.message) {
                    Some(Mark::Generation { generation, at, .. }) => {
                        if stamp.cause == Cause::First && generation != stamp.generation {
                            return Err(Interrupted::NotTheFirst);
                        }
                        stamp.begins = stamp.begins.map(|begins| begins.min(at));
                        memory.open(read_so_far(stamp));
                    }
                    Some(mark) if mark == end => {
                        let before: Vec<Entry> =
                            entries.iter().take_while(|other| other.offset < entry.offset).cloned().collect();
                        merge(&merger, before).await?;
                        let behind = entries.iter().filter(|other| other.offset > entry.offset).cloned();
                        merge(&merger, behind.collect()).await?;
                        tracing::info!(
                            messages = read + entry.offset.saturating_sub(entries[0].offset),
                            "the journal was merged"
                        );
                        return Ok(reader);
                    }
                    Some(Mark::End { .. }) | None => {}
                }
            }
            let count = entries.len() as u64;
            if (read + count) / PROGRESS > read / PROGRESS {
                tracing::info!(messages = read + count, "the journal is being merged");
            }
            read += count;
            merge(&merger, entries).await?;
        }
    }

    /// What was settled lately may have been forgotten, although the target has it.
    pub(super) async fn look_again(
        &self,
        stamp: &Stamp,
        settled: &BTreeMap<ResourceKey, Millis>,
    ) -> Result<(), Interrupted> {
        for (count, key) in settled.keys().enumerate() {
            if count % 100 == 0 {
                self.still_ours(stamp).await?;
            }
            operator::verify(&*self.store, key, self.clock.now()).await?;
        }
        Ok(())
    }

    /// The work queue may be ahead of the journal: what the journal holds behind the mark is merged too, until marks come
    /// back promptly.
    pub(super) fn follow(self: &Arc<Self>, reader: J::Reader, following: &mut JoinSet<()>) {
        following.abort_all();
        let this = self.clone();
        following.spawn(async move {
            if let Err(error) = this.behind(reader).await {
                tracing::warn!(%error, "the journal is not followed any more");
            }
        });
    }

    async fn behind(&self, mut reader: J::Reader) -> Result<(), Interrupted> {
        let merger = self.merger(None).behind(self.gate.clone());
        let mut prompt = 0;
        while prompt < PROMPT_MARKS {
            let mark = Mark::End { reading: (self.ids)() };
            let (due, asked) = (tokio::time::sleep(FOLLOW_EVERY), self.clock.now());
            self.letters.mark(&mark).await?;
            let came = self.read_to(&mut reader, &merger, &mark).await?;
            prompt = if came.since(asked) <= PROMPT { prompt + 1 } else { 0 };
            // what is on the way to the reader is not let go of: the marks bring it, with all that lies before them
            due.await;
        }
        Ok(())
    }

    async fn read_to(
        &self,
        reader: &mut J::Reader,
        merger: &Intake<S, P>,
        mark: &Mark,
    ) -> Result<Millis, Interrupted> {
        loop {
            let entries = reader.next().await?;
            let found = entries.iter().any(|entry| Mark::read(&entry.message).as_ref() == Some(mark));
            merge(merger, entries).await?;
            if found {
                return Ok(self.clock.now());
            }
        }
    }

    /// Says the generation again from time to time.
    pub(super) async fn follow_on(
        &self,
        stamp: Stamp,
        following: &mut JoinSet<()>,
    ) -> Result<(), Interrupted> {
        while following.try_join_next().is_some() {}
        let now = self.clock.now();
        let note = format!("{STAMP}-said");
        let said = self.store.recall(&note).await?.and_then(|text| text.parse().ok()).map(Millis);
        if said.is_some_and(|at| now.since(at) < SAID_AGAIN) || self.streams.is_none() {
            return Ok(());
        }
        self.letters.mark(&Mark::of(&stamp, now)).await?;
        Ok(self.store.remember(&note, &now.0.to_string()).await?)
    }
}

/// Merges entries as the intake does; what can't be decoded has its letter from the work queue.
async fn merge<S: Store, P: Publisher>(
    merger: &Intake<S, P>,
    entries: Vec<Entry>,
) -> Result<(), Interrupted> {
    if entries.is_empty() {
        return Ok(());
    }
    let deliveries: Vec<Delivery> = entries.into_iter().map(|entry| merger.delivered(entry)).collect();
    for verdict in merger.merge(&deliveries).await? {
        merger.merge_verdict(&verdict).await?;
    }
    Ok(())
}

/// Letters in the journal are judged by as much of it as was read.
fn read_so_far(stamp: &Stamp) -> Stamp {
    Stamp { ready: true, ..stamp.clone() }
}

/// A reader that falls behind the truncation of its stream skips what is gone, and says nothing.
pub(in crate::pipeline) fn gap(last: &mut Option<u64>, entries: &[Entry]) {
    for entry in entries {
        if let Some(last) = *last
            && entry.offset > last + 1
        {
            let lost = entry.offset - last - 1;
            tracing::error!(
                messages = lost,
                "the journal was truncated while it was read: journal.max_bytes is too small"
            );
        }
        *last = Some(entry.offset);
    }
}
