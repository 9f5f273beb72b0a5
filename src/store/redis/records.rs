//! Records and ledgers: from and to the texts that Redis keeps. A ledger entry's text is a mark, which the scripts can read
//! and set, and then JSON.

use redis::Value;

use super::RedisStore;
use super::keys::Part;
use crate::core::generation::Generation;
use crate::core::record::{MemberEntry, Record};
use crate::core::resource::ResourceKey;
use crate::pipeline::ports::{LedgerPage, Load, Loaded, StoreError, Version};

/// Entries asked for in one page of a ledger scan.
const PAGE: usize = 1_000;

/// The mark of an entry that nobody has to look at.
const CLEAN: char = '0';
/// The mark of a dirty entry.
const DIRTY: char = '1';
/// The mark of a dirty entry of which nobody knows whether it is at the target.
const DOUBTFUL: char = '2';
/// The mark of an entry that is dead or held: it does not become dirty by being touched.
const WITHHELD: char = 'x';

/// A ledger entry as Redis keeps it.
pub(super) fn written(entry: &MemberEntry) -> Result<String, serde_json::Error> {
    let mark = match (entry.dirty, entry.mark.is_wanted()) {
        (true, _) => DIRTY,
        (false, false) => WITHHELD,
        (false, true) => CLEAN,
    };
    // the mark says it, and it can change without the JSON
    let entry = MemberEntry { dirty: false, ..entry.clone() };
    Ok(format!("{mark}{}", serde_json::to_string(&entry)?))
}

fn read(text: &str) -> Result<MemberEntry, serde_json::Error> {
    let mut entry: MemberEntry =
        serde_json::from_str(text.trim_start_matches([CLEAN, DIRTY, DOUBTFUL, WITHHELD]))?;
    entry.dirty = text.starts_with([DIRTY, DOUBTFUL]);
    entry.unnamed |= text.starts_with(DOUBTFUL);
    Ok(entry)
}

impl RedisStore {
    pub(super) async fn load_records(&self, what: &[Load]) -> Result<Vec<Loaded>, StoreError> {
        // before anything is read: what a store has lost since then is refused when it is written
        let generation = self.generation();
        let mut commands = Vec::new();
        for load in what {
            let key = self.keys.part(&load.key, Part::Record);
            let mut record = redis::cmd("HMGET");
            record.arg(&key).arg("v").arg("r");
            commands.push((key, record));
            if !load.members.is_empty() {
                let key = self.keys.part(&load.key, Part::Members);
                let mut members = redis::cmd("HMGET");
                members.arg(&key).arg(&load.members);
                commands.push((key, members));
            }
        }
        let mut answers = self.link.pipeline("load records", commands).await?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let loads = what.iter().map(|load| {
            let record = next();
            let members = if load.members.is_empty() { Value::Nil } else { next() };
            self.loaded(load, generation, record, members)
        });
        loads.collect()
    }

    fn loaded(
        &self,
        load: &Load,
        generation: Generation,
        record: Value,
        members: Value,
    ) -> Result<Loaded, StoreError> {
        let (version, text): (Option<u64>, Option<String>) = self.link.read("read a record", record)?;
        let record: Record = match text {
            Some(text) => {
                serde_json::from_str(&text).map_err(|error| self.link.error("read a record", error))?
            }
            None => Record::default(),
        };
        let texts: Vec<Option<String>> = match members {
            Value::Nil => Vec::new(),
            members => self.link.read("read the ledger", members)?,
        };
        let members = self.entries(load.members.clone(), texts)?.into_iter().collect();
        let version = Version { counter: version.unwrap_or(0), generation };
        Ok(Loaded { key: load.key.clone(), version, record, members })
    }

    fn entries(
        &self,
        values: Vec<String>,
        texts: Vec<Option<String>>,
    ) -> Result<Vec<(String, MemberEntry)>, StoreError> {
        let known = values.into_iter().zip(texts).filter_map(|(value, text)| Some((value, text?)));
        known
            .map(|(value, text)| Ok((value, read(&text)?)))
            .collect::<Result<_, serde_json::Error>>()
            .map_err(|error| self.link.error("read a ledger entry", error))
    }

    pub(super) async fn read_dirty_members(
        &self,
        key: &ResourceKey,
        limit: usize,
    ) -> Result<Vec<(String, MemberEntry)>, StoreError> {
        let mut dirty = redis::cmd("SRANDMEMBER");
        dirty.arg(self.keys.part(key, Part::DirtyMembers)).arg(limit);
        let values: Vec<String> = self.link.query("read dirty members", dirty).await?;
        if values.is_empty() {
            return Ok(Vec::new());
        }
        let mut entries = redis::cmd("HMGET");
        entries.arg(self.keys.part(key, Part::Members)).arg(&values);
        let texts = self.link.query("read dirty members", entries).await?;
        let mut entries = self.entries(values, texts)?;
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(entries)
    }

    pub(super) async fn read_ledger_page(
        &self,
        key: &ResourceKey,
        cursor: u64,
    ) -> Result<LedgerPage, StoreError> {
        let mut scan = redis::cmd("HSCAN");
        scan.arg(self.keys.part(key, Part::Members)).arg(cursor).arg("COUNT").arg(PAGE);
        let (next, fields): (u64, Vec<(String, String)>) = self.link.query("scan a ledger", scan).await?;
        let (values, texts) = fields.into_iter().map(|(value, text)| (value, Some(text))).unzip();
        Ok((self.entries(values, texts)?, (next != 0).then_some(next)))
    }
}
