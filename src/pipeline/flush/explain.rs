//! Explaining one resource from what is stored: desired, applied, the gap, what it waits for, and the operation that would
//! be sent now. Nothing is sent, not even a read.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Flush;
use super::batch::{Idle, Item, Next};
use crate::core::circuit::Circuit;
use crate::core::desired::{Presence, Wanted};
use crate::core::dialect::Dialect;
use crate::core::mark::Stage;
use crate::core::operation::Operation;
use crate::core::record::{Record, WaitReason};
use crate::core::reference::References;
use crate::core::resource::ResourceKey;
use crate::core::schedule::Millis;
use crate::pipeline::head::Head;
use crate::pipeline::letters::{revision_text, rfc3339};
use crate::pipeline::ports::{Load, Loaded, Publisher, Store, StoreError, Target};

/// Letters that are shown.
const MAX_LETTERS: usize = 10;
/// Dirty ledger entries that are looked at.
const MAX_ENTRIES: usize = 1_000;

/// All that can be said about one resource.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Whose.
    pub resource: String,
    /// Whether anything is stored about it.
    pub known: bool,
    /// What the source wants.
    pub desired: Desired,
    /// What the target acknowledged.
    pub applied: Applied,
    /// What became of words that are not applied: path (or `put`, `delete`) to `dead`, `held`, `expired` (nobody decided: a
    /// dead letter too) or `rejected`.
    pub withheld: BTreeMap<String, &'static str>,
    /// The last failure of its own, since the last success.
    pub last_failure: Option<Failure>,
    /// Its letters, the newest first, as far as the index knows them.
    pub letters: Vec<Letter>,
    /// What it waits for; empty: for nothing.
    pub waits_for: Vec<Wait>,
    /// What would be done now.
    pub next: Step,
}

/// What the source wants.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Desired {
    /// `alive`, `deleted`, or `unborn` (no `put` is known).
    pub presence: &'static str,
    /// `active`, if the source said so.
    pub active: Option<bool>,
    /// Whole attributes, or the parts that were written.
    pub attributes: BTreeMap<String, Value>,
    /// The revision of each word that is known: by path, `put` and `delete` for the floors.
    pub revisions: BTreeMap<String, String>,
    /// Ledger entries that are to be looked at.
    pub open_members: usize,
}

/// What the target acknowledged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Applied {
    /// The target's id.
    pub id: Option<String>,
    /// The version last seen.
    pub etag: Option<String>,
    /// SHA-256 (half) over what was written.
    pub content_hash: Option<String>,
    /// Paths that were written.
    pub paths: Vec<String>,
    /// Paths that were sent and not acknowledged.
    pub perhaps: Vec<String>,
}

/// A letter about it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Letter {
    /// `dead` or `parked`.
    pub queue: &'static str,
    /// What its headers say.
    #[serde(flatten)]
    pub head: Head,
}

/// A failure of the resource's own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The class.
    pub class: String,
    /// The HTTP status.
    pub http_status: Option<u16>,
    /// How many in a row.
    pub attempt: u32,
    /// When, as far as it is known: the broker notes no time on what it gives up itself.
    pub last_failed_at: Option<String>,
}

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Wait {
    /// `schedule`, `rung`, `claim`, `breaker`, `pause`, `budget`, `base`, `reference`, `guard`, `late_window`, `read_only`.
    pub what: &'static str,
    /// In words.
    pub detail: String,
}

/// What would be done now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// `nothing`, `find`, `read`, `write`, or `wait`.
    pub kind: &'static str,
    /// In words.
    pub detail: String,
    /// The write; after `find`: the one that follows if nothing is found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<Write>,
}

/// A write as it would be sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Write {
    /// The method.
    pub method: &'static str,
    /// The path below the base URL.
    pub path: String,
    /// The version sent along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

impl Explanation {
    /// With its letters, in any order. What is withheld because it is dead has its last outcome in one of them: the record
    /// keeps no count of it.
    pub fn with_letters(mut self, mut letters: Vec<Letter>) -> Self {
        letters.sort_by(|a, b| b.head.last_failed_at.cmp(&a.head.last_failed_at));
        letters.truncate(MAX_LETTERS);
        let dead = self.withheld.values().any(|word| matches!(*word, "dead" | "expired"));
        if self.last_failure.is_none() && dead {
            self.last_failure = letters.first().map(|letter| Failure {
                class: letter.head.class.clone(),
                http_status: letter.head.http_status,
                attempt: letter.head.attempt.unwrap_or(0),
                last_failed_at: letter.head.last_failed_at.clone(),
            });
        }
        self.letters = letters;
        self
    }
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// Explains a resource; of its letters only the index knows.
    pub async fn explain(&self, key: &ResourceKey) -> Result<Explanation, StoreError> {
        self.recall_capabilities().await?;
        let (item, references) = self.look(key).await?;
        let circuit = self.store.circuit().await?;
        let alive = self.claim_lives(&item).await?;
        let now = self.clock.now();
        let expires = self.settings.held_expires_after;
        let expired = item.record.held_at.is_some_and(|at| at.plus(expires) <= now);
        let withheld = withheld(&item.record, expired);
        let mut waits = waits(&item, &circuit, alive, now);
        waits.extend(self.waits_for_budget(&item, now).await);
        if withheld.values().any(|word| *word == "held") {
            waits.push(wait("guard", "an operator: `scim-relay held list`"));
        }
        if self.settings.read_only {
            waits.push(wait("read_only", "target.read_only is set: nothing is written"));
        }
        Ok(Explanation {
            resource: key.to_string(),
            known: item.version.counter > 0,
            desired: desired(&item),
            applied: applied(&item.record),
            withheld,
            last_failure: failure(&item.record),
            letters: Vec::new(),
            waits_for: waits,
            next: self.step(&item, &references),
        })
    }

    /// Loads a resource and what it names, without touching anything.
    async fn look(&self, key: &ResourceKey) -> Result<(Item, References), StoreError> {
        let loads = [Load { key: key.clone(), members: Vec::new() }];
        let loaded = self.store.load(&loads).await?.pop().unwrap_or_else(|| Loaded::nothing(key));
        let entries = self.store.dirty_members(key, MAX_ENTRIES).await?;
        let mut item = Item::loaded(loaded, self.strangers());
        item.more_entries = entries.len() >= MAX_ENTRIES;
        item.entries = entries.into_iter().collect();
        let mut references = self.unresolved(key.kind);
        let wanted = item.references(references.need_names()).into_iter().collect();
        self.resolve_from_records(&wanted, &mut references).await?;
        Ok((item, references))
    }

    async fn claim_lives(&self, item: &Item) -> Result<bool, StoreError> {
        let Some(claim) = &item.record.claim else { return Ok(false) };
        let alive = self.store.leases(&[(item.key.clone(), claim.owner.clone())]).await?;
        Ok(alive.contains(&true))
    }

    fn step(&self, item: &Item, references: &References) -> Step {
        let step = |kind, detail: &str, operation: Option<&Operation>| Step {
            kind,
            detail: detail.to_owned(),
            operation: operation.map(|operation| write(operation, &self.settings.dialect)),
        };
        let rules = self.rules();
        match item.next(&rules, references, "op-1") {
            Next::Find => {
                let matching = &self.settings.dialect.of(item.key.kind).matching;
                let by: Vec<&str> = matching.iter().map(|matcher| matcher.path()).collect();
                let detail = format!("it is looked up at the target by {}", by.join(" and "));
                match (Item { absent: true, ..item.clone() }).next(&rules, references, "op-1") {
                    Next::Write(ready) => step("find", &detail, Some(&ready.operation)),
                    Next::Find
                    | Next::Read
                    | Next::Compare
                    | Next::NoBase
                    | Next::NotSupported(_)
                    | Next::Rest(_) => step("find", &detail, None),
                }
            }
            Next::Read => step("read", "the target's resource is read before it is written", None),
            Next::NotSupported(why) => step("nothing", why, None),
            Next::Compare => step("read", "the target's members are compared with the source's list", None),
            Next::NoBase => step("wait", "only patches are known, and the target does not have it", None),
            Next::Rest(idle) if idle.pending.is_empty() => {
                step("nothing", "the target has what is wanted", None)
            }
            Next::Rest(Idle { pending, .. }) => {
                let detail = format!("{} references are not at the target yet", pending.len());
                step("wait", &detail, None)
            }
            Next::Write(ready) => step("write", "", Some(&ready.operation)),
        }
    }
}

fn write(operation: &Operation, dialect: &Dialect) -> Write {
    Write {
        method: operation.method().name(),
        path: operation.path(dialect),
        version: operation.version().map(|version| version.as_str().to_owned()),
        body: operation.body().cloned(),
    }
}

fn desired(item: &Item) -> Desired {
    let record = &item.record;
    let presence = match record.desired.presence() {
        Presence::Alive => "alive",
        Presence::Deleted => "deleted",
        Presence::Unborn => "unborn",
    };
    let mut attributes = BTreeMap::new();
    for (root, wanted) in record.desired.attributes() {
        match wanted {
            Wanted::Whole(value) => drop(attributes.insert(root.to_string(), value.unwrap_or_default())),
            Wanted::Parts(parts) => attributes
                .extend(parts.into_iter().map(|(path, value)| (path.to_string(), value.unwrap_or_default()))),
        }
    }
    let floors = [("put", record.desired.put()), ("delete", record.desired.deleted())];
    let floors = floors.into_iter().filter_map(|(word, floor)| Some((word.to_owned(), &floor?.revision)));
    let words = record.desired.registers().map(|(path, held)| (path.to_string(), &held.revision));
    Desired {
        presence,
        active: record.desired.active(),
        attributes,
        revisions: words.chain(floors).map(|(word, revision)| (word, revision_text(revision))).collect(),
        open_members: item.entries.len(),
    }
}

fn applied(record: &Record) -> Applied {
    let leaves = record.applied.iter().flat_map(|applied| applied.leaves.keys());
    Applied {
        id: record.id.as_ref().map(|id| id.as_str().to_owned()),
        etag: record.etag.as_ref().map(|etag| etag.as_str().to_owned()),
        content_hash: record.applied.as_ref().map(|applied| applied.content_hash().into()),
        paths: leaves.map(ToString::to_string).collect(),
        perhaps: record.maybe_ours.iter().map(ToString::to_string).collect(),
    }
}

/// `expired`: what is held was dead-lettered by the broker meanwhile, which tells nobody.
fn withheld(record: &Record, expired: bool) -> BTreeMap<String, &'static str> {
    let word = |stage: Stage| match stage {
        Stage::Dead => Some("dead"),
        Stage::Rejected => Some("rejected"),
        Stage::Held if expired => Some("expired"),
        Stage::Held => Some("held"),
        Stage::Live | Stage::Approved => None,
    };
    let registers = record.desired.registers();
    let registers = registers.map(|(path, held)| (path.to_string(), held.mark.stage));
    let put = record.desired.put().map(|floor| ("put".to_owned(), floor.mark.stage));
    let deleted = record.desired.deleted().map(|floor| ("delete".to_owned(), floor.mark.stage));
    let all = registers.chain(put).chain(deleted);
    all.filter_map(|(path, stage)| Some((path, word(stage)?))).collect()
}

fn failure(record: &Record) -> Option<Failure> {
    let trouble = record.trouble.as_ref()?;
    Some(Failure {
        class: trouble.class.name().to_owned(),
        http_status: trouble.status,
        attempt: trouble.attempt,
        last_failed_at: Some(rfc3339(trouble.last_failed_at)),
    })
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// What is due waits for a place in the budget.
    async fn waits_for_budget(&self, item: &Item, now: Millis) -> Option<Wait> {
        item.record.due.filter(|due| due.at <= now)?;
        let free = self.target.free_in().await.filter(|free| !free.is_zero())?;
        let detail = format!("the next place in the budget of requests is free in {} ms", free.as_millis());
        Some(wait("budget", detail))
    }
}

fn wait(what: &'static str, detail: impl Into<String>) -> Wait {
    Wait { what, detail: detail.into() }
}

fn waits(item: &Item, circuit: &Circuit, claim_lives: bool, now: Millis) -> Vec<Wait> {
    let record = &item.record;
    let mut waits = Vec::new();
    if let Some(claim) = record.claim.as_ref().filter(|_| claim_lives) {
        waits.push(wait("claim", format!("a {} is in flight", claim.method)));
    }
    if let Some(until) = circuit.paused_until.filter(|until| *until > now) {
        let why = circuit.trouble.map_or("it asked to wait", |trouble| trouble.name());
        waits.push(wait("breaker", format!("the target is paused until {}: {why}", rfc3339(until))));
    }
    if let Some(due) = record.due {
        if circuit.stopped.contains(&due.lane) {
            let lane = due.lane.name();
            waits.push(wait("pause", format!("an operator stopped the lane {lane}: `scim-relay resume`")));
        }
        let (at, lane) = (rfc3339(due.at), due.lane.name());
        let rung = record.trouble.as_ref().filter(|trouble| trouble.attempt > 0 && due.at > now);
        match rung {
            Some(trouble) => {
                let detail =
                    format!("attempt {} failed; again with the ladder, at the latest {at}", trouble.attempt);
                waits.push(wait("rung", detail));
            }
            None if due.at > now => waits.push(wait("schedule", format!("due at {at} in the lane {lane}"))),
            None => {}
        }
    }
    match record.waiting.map(|waiting| (waiting.reason, rfc3339(waiting.since))) {
        Some((WaitReason::Base, since)) => waits.push(wait("base", format!("for its put, since {since}"))),
        Some((WaitReason::Reference, since)) => {
            waits.push(wait("reference", format!("for resources that it names, since {since}")));
        }
        None => {}
    }
    if let Some(at) = record.no_create_before.filter(|at| *at > now) {
        waits.push(wait("late_window", format!("no second create before {}", rfc3339(at))));
    }
    waits
}
