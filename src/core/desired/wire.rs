//! The stored form: revisions once, registers point at them, since most attributes share few revisions.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Floor, Held, Mark, Path, Revision};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Desired {
    #[serde(rename = "rev", default, skip_serializing_if = "Vec::is_empty")]
    revisions: Vec<Revision>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    put: Option<(usize, Mark)>,
    #[serde(rename = "del", default, skip_serializing_if = "Option::is_none")]
    deleted: Option<(usize, Mark)>,
    #[serde(rename = "reg", default, skip_serializing_if = "Vec::is_empty")]
    registers: Vec<(Path, usize, Mark, Option<Value>)>,
}

#[derive(Debug, thiserror::Error)]
#[error("a register names revision {0}, which is not stored")]
pub struct Broken(usize);

impl From<super::Desired> for Desired {
    fn from(desired: super::Desired) -> Self {
        let mut wire = Desired::default();
        wire.put = desired.put.map(|f| (wire.index(f.revision), f.mark));
        wire.deleted = desired.deleted.map(|f| (wire.index(f.revision), f.mark));
        for (path, held) in desired.registers {
            let index = wire.index(held.revision);
            wire.registers.push((path, index, held.mark, held.value));
        }
        wire
    }
}

impl Desired {
    fn index(&mut self, revision: Revision) -> usize {
        match self.revisions.iter().position(|r| *r == revision) {
            Some(index) => index,
            None => {
                self.revisions.push(revision);
                self.revisions.len() - 1
            }
        }
    }

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
        let held =
            |(path, index, mark, value)| Ok((path, Held { revision: wire.revision(index)?, value, mark }));
        Ok(super::Desired {
            put: wire.floor(wire.put)?,
            deleted: wire.floor(wire.deleted)?,
            registers: registers.map(held).collect::<Result<_, Broken>>()?,
        })
    }
}
