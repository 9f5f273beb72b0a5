//! The stored form: revisions once, registers point at them, since most attributes share few revisions.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{Floor, Held, Mark, Path, Revision};

/// Owned when it is read, borrowed when it is written.
#[derive(Debug, Serialize, Deserialize)]
pub struct Desired<R = Revision, P = Path, V = Value> {
    #[serde(rename = "rev", default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    revisions: Vec<R>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put: Option<(usize, Mark)>,
    #[serde(rename = "del", default, skip_serializing_if = "Option::is_none")]
    deleted: Option<(usize, Mark)>,
    #[serde(rename = "reg", default = "Vec::new", skip_serializing_if = "Vec::is_empty")]
    registers: Vec<(P, usize, Mark, Option<V>)>,
}

#[derive(Debug, thiserror::Error)]
#[error("a register names revision {0}, which is not stored")]
pub struct Broken(usize);

impl Serialize for super::Desired {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Desired::from(self).serialize(serializer)
    }
}

impl<'a> From<&'a super::Desired> for Desired<&'a Revision, &'a Path, &'a Value> {
    fn from(desired: &'a super::Desired) -> Self {
        let mut wire = Desired { revisions: Vec::new(), put: None, deleted: None, registers: Vec::new() };
        wire.put = desired.put.as_ref().map(|f| (wire.index(&f.revision), f.mark));
        wire.deleted = desired.deleted.as_ref().map(|f| (wire.index(&f.revision), f.mark));
        for (path, held) in &desired.registers {
            let index = wire.index(&held.revision);
            wire.registers.push((path, index, held.mark, held.value.as_deref()));
        }
        wire
    }
}

impl<'a> Desired<&'a Revision, &'a Path, &'a Value> {
    fn index(&mut self, revision: &'a Revision) -> usize {
        match self.revisions.iter().position(|r| *r == revision) {
            Some(index) => index,
            None => {
                self.revisions.push(revision);
                self.revisions.len() - 1
            }
        }
    }
}

impl Desired {
    fn revision(&self, index: usize) -> Result<Revision, Broken> {
        self.revisions.get(index).cloned().ok_or(Broken(index))
    }

    fn floor(&self, floor: Option<(usize, Mark)>) -> Result<Option<Floor>, Broken> {
        floor.map(|(index, mark)| Ok(Floor { revision: self.revision(index)?, mark })).transpose()
    }
}

impl TryFrom<Desired> for super::Desired {
    type Error = Broken;

    fn try_from(mut wire: Desired) -> Result<Self, Broken> {
        let registers = std::mem::take(&mut wire.registers).into_iter();
        let held = |(path, index, mark, value): (Path, usize, Mark, Option<Value>)| {
            Ok((path, Held { revision: wire.revision(index)?, value: value.map(Arc::new), mark }))
        };
        Ok(super::Desired {
            put: wire.floor(wire.put)?,
            deleted: wire.floor(wire.deleted)?,
            registers: registers.map(held).collect::<Result<_, Broken>>()?,
        })
    }
}
