//! Outcomes of replayed letters. Each has a record in the store from before it is sent until its outcome is known, so that a replay
//! which was interrupted, or did not wait, is reported by the next one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::desk::{Desk, Place};
use super::reading::{Reading, Said};
use crate::app::{Failure, failed};
use crate::core::desired::Words;
use crate::core::fate::{Fate, fate};
use crate::core::gap::Rules;
use crate::core::resource::ResourceKey;
use crate::pipeline::head::Head;
use crate::pipeline::ports::{LetterIndex, Load, Loaded, Shelf, Store};

/// Words that are watched for each letter: what a letter says is merged, applied and buried together.
const WATCHED: usize = 20;

/// The record of a replayed letter. It holds no values.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    round: u32,
    #[serde(default)]
    words: Words,
    /// Of what no decoder accepted: its next letter names this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

impl Sent {
    /// Of a letter that is about to be sent.
    pub(super) fn of(head: &Head, reading: &Reading) -> Self {
        let mut sent = Self {
            class: head.class.clone(),
            resource: None,
            round: reading.round,
            words: Words::default(),
            refused: None,
        };
        match &reading.said {
            Said::Change(change) => {
                let delta = &change.delta;
                let paths = delta.attributes.iter().map(|r| (r.path.clone(), r.revision.clone()));
                let members = delta.members.iter().map(|m| (m.value.clone(), m.revision.clone()));
                sent.resource = Some(change.key.to_string());
                sent.words = Words {
                    attributes: paths.take(WATCHED).collect(),
                    members: members.take(WATCHED).collect(),
                    put: delta.lifecycle.put.clone(),
                    deleted: delta.lifecycle.deleted.clone(),
                };
            }
            Said::Refused(_) => sent.refused.clone_from(&reading.message.message_id),
            Said::Ignored | Said::Unsendable(_) => {}
        }
        sent
    }

    pub(super) fn to_json(&self) -> String {
        // texts and numbers always have a JSON form
        serde_json::to_string(self).unwrap_or_default()
    }

    fn key(&self) -> Option<ResourceKey> {
        self.resource.as_deref()?.parse().ok()
    }
}

/// Outcomes of one class.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Counts {
    pub(super) applied: u64,
    pub(super) superseded: u64,
    pub(super) dead: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) held: u64,
    pub(super) pending: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Outcomes by class.
#[derive(Debug, Default)]
pub(super) struct Tally {
    classes: BTreeMap<String, Counts>,
    /// Letters whose outcome is not known yet, those of earlier replays too.
    pub(super) open: BTreeSet<String>,
}

impl Tally {
    fn count(&mut self, class: &str, fate: Fate) {
        let counts = self.classes.entry(class.to_owned()).or_default();
        *match fate {
            Fate::Applied => &mut counts.applied,
            Fate::Superseded => &mut counts.superseded,
            Fate::Dead => &mut counts.dead,
            Fate::Held => &mut counts.held,
            Fate::Pending => &mut counts.pending,
        } += 1;
    }

    pub(super) fn sum(&self, of: fn(&Counts) -> u64) -> u64 {
        self.classes.values().map(of).sum()
    }

    /// One line for each class.
    pub(super) fn lines(&self, json: bool) -> Vec<String> {
        let line = |(class, counts): (&String, &Counts)| {
            let Counts { applied, superseded, dead, held, pending } = counts;
            let held = if *held == 0 { String::new() } else { format!("{held} held by the guard, ") };
            match json {
                true => {
                    let mut line = serde_json::json!(counts);
                    line["class"] = serde_json::json!(class);
                    line.to_string()
                }
                false => format!(
                    "{class:<20} {applied} applied, {superseded} superseded, {dead} dead again, {held}{pending} still pending"
                ),
            }
        };
        self.classes.iter().map(line).collect()
    }
}

/// Looks at every replayed letter whose outcome is not known: known ones are added to `tally` and forgotten, the others are
/// counted afresh as pending.
pub(super) async fn settle(desk: &Desk, rules: &Rules, tally: &mut Tally) -> Result<(), Failure> {
    tally.classes.values_mut().for_each(|counts| counts.pending = 0);
    tally.open.clear();
    let refused = refused_again(desk).await?;
    let (mut cursor, mut known, mut seen) = (Some(0), Vec::new(), BTreeSet::new());
    while let Some(at) = cursor {
        let (page, next) = desk.store.shelf_page(Shelf::Replayed, at).await.map_err(failed)?;
        let page: Vec<(String, Sent)> = page
            .into_iter()
            .filter(|(id, _)| seen.insert(id.clone()))
            .filter_map(|(id, text)| Some((id, serde_json::from_str(&text).ok()?)))
            .collect();
        let fates = fates(desk, &page, rules, &refused).await?;
        for ((id, sent), fate) in page.into_iter().zip(fates) {
            tally.count(&sent.class, fate);
            match fate {
                Fate::Pending => drop(tally.open.insert(id)),
                Fate::Applied | Fate::Superseded | Fate::Dead | Fate::Held => known.push(id),
            }
        }
        cursor = next;
    }
    desk.store.unshelve(Shelf::Replayed, known).await.map_err(failed)
}

async fn fates(
    desk: &Desk,
    page: &[(String, Sent)],
    rules: &Rules,
    refused: &BTreeMap<String, u32>,
) -> Result<Vec<Fate>, Failure> {
    let loads: Vec<Load> = page
        .iter()
        .filter_map(|(_, sent)| {
            let members = sent.words.members.iter().map(|(value, _)| value.clone()).collect();
            Some(Load { key: sent.key()?, members })
        })
        .collect();
    let mut loaded = desk.store.load(&loads).await.map_err(failed)?.into_iter();
    let fates = page.iter().map(|(_, sent)| match (sent.key().and_then(|_| loaded.next()), &sent.refused) {
        (Some(Loaded { key, record, members, .. }), _) => {
            fate(&key, &record, &members, &sent.words, sent.round, rules)
        }
        (None, Some(message_id)) => match refused.get(message_id) {
            Some(round) if *round >= sent.round => Fate::Dead,
            Some(_) | None => Fate::Pending,
        },
        // it says nothing to the relay
        (None, None) => Fate::Applied,
    });
    Ok(fates.collect())
}

/// Dead letters that name an original message, with how often that was replayed; nothing where nobody asks.
async fn refused_again(desk: &Desk) -> Result<BTreeMap<String, u32>, Failure> {
    let mut found = BTreeMap::new();
    if desk.store.shelf_count(Shelf::Replayed).await.map_err(failed)? == 0 {
        return Ok(found);
    }
    desk.each(Place::Dead, |head| {
        let round = head.round();
        // only what was replayed before can be an outcome
        if let Some(id) = head.message_id.filter(|_| round > 0) {
            let held = found.entry(id).or_insert(round);
            *held = round.max(*held);
        }
    })
    .await?;
    Ok(found)
}
