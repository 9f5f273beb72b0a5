//! `dead discard` and `dead restore`: letters move between `dead` and `parked`. First the letter is confirmed in its new place, then it
//! leaves the old one: killed between, it is in both.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use super::audit::{Progress, Record, confirm, record};
use super::desk::{Chosen, Desk, Place, broker_failed};
use super::index::refresh;
use super::lock::Lock;
use super::reading::{Said, name_resource, read, unpublished};
use crate::app::{Failure, failed};
use crate::broker::publisher::AmqpPublisher;
use crate::broker::scan::{Found, Pass, Seen};
use crate::cli::{Change, Exit};
use crate::core::settle;
use crate::decode::verdict;
use crate::ops::clock::ulid;
use crate::pipeline::ports::{Header, LetterIndex, Load, Message, Publisher, Store};

/// Letters moved at once.
const CHUNK: usize = 50;

/// `dead discard`.
pub(super) async fn discard(desk: &Desk, change: &Change) -> Result<Exit, Failure> {
    if change.select.parked {
        return Err(("letters in `parked` are discarded already".into(), Exit::Usage));
    }
    shift(desk, change, "discard", Place::Dead, Place::Parked).await
}

/// `dead restore`.
pub(super) async fn restore(desk: &Desk, change: &Change) -> Result<Exit, Failure> {
    shift(desk, change, "restore", Place::Parked, Place::Dead).await
}

async fn shift(desk: &Desk, change: &Change, word: &str, from: Place, to: Place) -> Result<Exit, Failure> {
    let selection = desk.selection(&change.select)?;
    selection.must_choose()?;
    Lock::within(desk, &desk.queue(from), word, async |lock| {
        refresh(desk, from, lock).await?;
        let chosen = desk.choose(from, &selection).await?;
        let selected = chosen.ids.len();
        if selected > 0 {
            confirm(change, &format!("{word} {selected} letters"))?;
        }
        let publisher = AmqpPublisher::new(desk.broker.clone());
        let mut moving = Moving { desk, lock, publisher, from, to, moved: 0 };
        let ran = moving.all(&chosen).await;
        let (done, what) = (moving.moved, format!("dead {word}"));
        record(desk, &Record { what: &what, selection: &selection, change, selected, done });
        ran?;
        println!("{done} letters moved to `{}`", desk.queue(to));
        Ok(if done < selected { Exit::Differences } else { chosen.report_missing() })
    })
    .await
}

/// Letters on their way.
struct Moving<'a> {
    desk: &'a Desk,
    lock: &'a Lock,
    publisher: AmqpPublisher,
    from: Place,
    to: Place,
    moved: usize,
}

impl Moving<'_> {
    /// Pass after pass: each has to end before the broker's consumer timeout.
    async fn all(&mut self, chosen: &Chosen) -> Result<(), Failure> {
        let mut progress = Progress::of("moved", chosen.ids.len());
        loop {
            let before = self.moved;
            let seen = self.pass(chosen, &mut progress).await?;
            if seen == Seen::All || self.moved >= chosen.ids.len() || self.moved == before {
                progress.end();
                return Ok(());
            }
        }
    }

    async fn pass(&mut self, chosen: &Chosen, progress: &mut Progress) -> Result<Seen, Failure> {
        let queue = self.desk.queue(self.from);
        let left = chosen.ids.len().saturating_sub(self.moved);
        let mut pass = Pass::begin(&self.desk.broker, &queue).await.map_err(broker_failed)?.expecting(left);
        let mut letters = Vec::new();
        while self.moved + letters.len() < chosen.ids.len()
            && let Some(found) = pass.next().await.map_err(broker_failed)?
        {
            letters.extend(Some(found).filter(|found| chosen.ids.contains(&found.head.id)));
            if letters.len() >= CHUNK {
                self.shift(&mut pass, std::mem::take(&mut letters)).await?;
                progress.at(self.moved);
            }
        }
        self.shift(&mut pass, letters).await?;
        pass.end().await.map_err(broker_failed)
    }

    async fn shift(&mut self, pass: &mut Pass, mut letters: Vec<Found>) -> Result<(), Failure> {
        self.lock.check()?;
        let (desk, store) = (self.desk, &self.desk.store);
        for found in &mut letters {
            name_resource(found, &desk.settings, desk.now());
        }
        let sent = join_all(letters.iter().map(|found| send(desk, &self.publisher, found, self.to))).await;
        let (mut gone, mut come) = (Vec::new(), Vec::new());
        for (found, sent) in letters.iter().zip(sent) {
            sent?;
            pass.take(found).await.map_err(broker_failed)?;
            gone.push(found.head.id.clone());
            come.push((found.head.id.clone(), found.head.to_json()));
        }
        self.moved += gone.len();
        store.unshelve(self.from.shelf(), gone).await.map_err(failed)?;
        store.shelve(self.to.shelf(), come).await.map_err(failed)
    }
}

/// Publishes a letter to its new place; what is given up is said in the journal too.
async fn send(desk: &Desk, publisher: &AmqpPublisher, found: &Found, to: Place) -> Result<(), Failure> {
    let mut headers = found.message.headers.clone();
    headers.retain(|name, _| !name.starts_with("x-relay-"));
    headers.extend(found.head.headers());
    let letter = Message {
        exchange: desk.settings.routes.out.clone(),
        routing_key: desk.queue(to),
        message_id: Some(found.head.id.clone()),
        headers,
        ..found.message.clone()
    };
    publisher.publish(letter).await.map_err(unpublished)?;
    if to == Place::Parked
        && let Some(verdict) = discarded(desk, found).await?
    {
        publisher.publish(verdict).await.map_err(unpublished)?;
    }
    Ok(())
}

/// The verdict about a discarded letter; none for what says nothing about a resource.
async fn discarded(desk: &Desk, found: &Found) -> Result<Option<Message>, Failure> {
    let Said::Change(change) = read(found, &desk.settings, desk.now()).said else { return Ok(None) };
    let load = Load { key: change.key.clone(), members: Vec::new() };
    let Some(loaded) = desk.store.load(&[load]).await.map_err(failed)?.pop() else { return Ok(None) };
    let words = settle::words(&loaded.record, &change.delta);
    let now = desk.now();
    let kind = verdict::Kind::Discarded;
    let (routing_key, body) = verdict::encode(&change.key, kind, &words, &desk.settings.target, now, ulid);
    let round = Header::Int(found.head.round().into());
    Ok(Some(Message {
        exchange: desk.settings.routes.intake.clone(),
        routing_key,
        body,
        content_type: Some("application/cloudevents+json".into()),
        message_id: Some(ulid()),
        timestamp: Some(now),
        headers: BTreeMap::from([("x-relay-replays".to_owned(), round)]),
        ..Message::default()
    }))
}
