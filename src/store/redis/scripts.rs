//! The scripts, and calls of them. What a script does and which KEYS and ARGV it takes is said in its own file.

use std::sync::atomic::{AtomicU64, Ordering};

use redis::Cmd;

use super::keys::{Keys, Part};
use super::records::written;
use crate::core::resource::ResourceKey;
use crate::core::resource::TargetId;
use crate::core::schedule::{Due, Lane};
use crate::pipeline::ports::{Reschedule, Swap};

/// Room for a command's name and numbers.
const OVERHEAD: usize = 16;

/// Records are mostly smaller.
const RECORD_BYTES: usize = 2_048;

/// A script, by its text or by what the server remembers it by.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }
}

/// How a script is named in a call.
#[derive(Clone, Copy)]
pub(super) enum By {
    /// Short; the server may have forgotten it.
    Hash,
    /// Always works, and the server knows it afterwards.
    Text,
}

/// All scripts.
pub(super) struct Scripts {
    pub(super) swap: Script,
    pub(super) take: Script,
    pub(super) touch: Script,
    pub(super) renew: Script,
    pub(super) depend: Script,
    pub(super) own: Script,
    pub(super) disown: Script,
    pub(super) trip: Script,
    pub(super) probe: Script,
    pub(super) admit: Script,
    pub(super) forget: Script,
    pub(super) spend: Script,
    pub(super) refuse: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            swap: Script::new(include_str!("scripts/swap.lua")),
            take: Script::new(include_str!("scripts/take.lua")),
            touch: Script::new(include_str!("scripts/touch.lua")),
            renew: Script::new(include_str!("scripts/renew.lua")),
            depend: Script::new(include_str!("scripts/depend.lua")),
            own: Script::new(include_str!("scripts/own.lua")),
            disown: Script::new(include_str!("scripts/disown.lua")),
            trip: Script::new(include_str!("scripts/trip.lua")),
            probe: Script::new(include_str!("scripts/probe.lua")),
            admit: Script::new(include_str!("scripts/admit.lua")),
            forget: Script::new(include_str!("scripts/forget.lua")),
            spend: Script::new(concat!(include_str!("scripts/now.lua"), include_str!("scripts/spend.lua"))),
            refuse: Script::new(concat!(include_str!("scripts/now.lua"), include_str!("scripts/refuse.lua"))),
        }
    }
}

/// Names for writes that no other store uses: the store's own name and a number.
#[derive(Debug)]
pub(super) struct Tokens {
    name: String,
    next: AtomicU64,
}

impl Tokens {
    /// `name`: nobody else's.
    pub(super) fn new(name: String) -> Self {
        Self { name, next: AtomicU64::new(0) }
    }

    pub(super) fn next(&self) -> String {
        format!("{}-{:x}", self.name, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// One call of a script: all keys lie in one bucket.
pub(super) struct Call {
    pub(super) keys: Vec<String>,
    pub(super) args: Vec<String>,
}

impl Call {
    /// The command, with the key that says where it belongs.
    pub(super) fn command(&self, script: &Script, by: By) -> (String, Cmd) {
        let (verb, named) = match by {
            By::Hash => ("EVALSHA", script.hash.as_str()),
            By::Text => ("EVAL", script.text),
        };
        let size =
            self.keys.iter().chain(&self.args).map(String::len).sum::<usize>() + named.len() + OVERHEAD;
        let mut command = Cmd::with_capacity(self.keys.len() + self.args.len() + 3, size);
        command.arg(verb).arg(named);
        command.arg(self.keys.len()).arg(&self.keys).arg(&self.args);
        (self.keys[0].clone(), command)
    }

    /// `swap.lua`.
    pub(super) fn swap(keys: &Keys, swap: &Swap, tokens: &Tokens) -> Result<Self, serde_json::Error> {
        let home = keys.home(&swap.key);
        let parts = [Part::Record, Part::Members, Part::DirtyMembers, Part::Dependents];
        let (lane, at) = match (swap.reschedule, swap.record.due) {
            (Reschedule::Keep, _) => (0, 0),
            (Reschedule::AsRecord, None) => (-1, 0),
            (Reschedule::AsRecord, Some(due)) => (number(due.lane), due.at.0),
        };
        let id = swap.record.id.as_ref().map_or("", TargetId::as_str);
        let mut record = Vec::with_capacity(RECORD_BYTES);
        serde_json::to_writer(&mut record, &swap.record)?;
        let record = String::from_utf8(record).map_err(serde::ser::Error::custom)?;
        let mut all = match swap.reschedule {
            Reschedule::Keep => parts.iter().map(|part| home.part(*part)).collect(),
            Reschedule::AsRecord => home.with_lanes(&parts),
        };
        all.extend([keys.active(home.bucket, swap.key.kind), keys.generation(home.bucket)]);
        let mut args = vec![
            swap.expected.counter.to_string(),
            tokens.next(),
            record,
            id.to_owned(),
            home.name,
            lane.to_string(),
            at.to_string(),
            u8::from(swap.record.is_active()).to_string(),
            swap.expected.generation.to_string(),
        ];
        for (value, entry) in &swap.members {
            args.push(value.clone());
            args.push(entry.as_ref().map(written).transpose()?.unwrap_or_default());
        }
        Ok(Self { keys: all, args })
    }

    /// `forget.lua`.
    pub(super) fn forget(keys: &Keys, key: &ResourceKey) -> Self {
        let parts = [Part::Record, Part::Members, Part::DirtyMembers, Part::Dependents];
        let home = keys.home(key);
        let mut all = home.with_lanes(&parts);
        all.extend([keys.active(home.bucket, key.kind), keys.all(home.bucket)]);
        Self { keys: all, args: vec![home.name] }
    }

    /// `touch.lua`.
    pub(super) fn touch(keys: &Keys, key: &ResourceKey, due: Due, member: Option<(&str, bool)>) -> Self {
        let parts = [Part::Record, Part::Members, Part::DirtyMembers];
        let home = keys.home(key);
        let all = home.with_lanes(&parts);
        let args = vec![
            home.name,
            number(due.lane).to_string(),
            due.at.0.to_string(),
            member.map_or(0, |(_, doubt)| 1 + u8::from(doubt)).to_string(),
            member.map_or("", |(member, _)| member).to_owned(),
        ];
        Self { keys: all, args }
    }
}

/// A lane's place among the KEYS of scripts.
fn number(lane: Lane) -> i32 {
    match lane {
        Lane::Deprovision => 1,
        Lane::Create => 2,
        Lane::Update => 3,
        Lane::Members => 4,
    }
}
