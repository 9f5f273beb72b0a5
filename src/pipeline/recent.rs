//! Records that intake wrote a moment ago: under load the next event of a resource finds its record here, and spares a
//! load. Nothing is decided by them alone: a swap compares versions, and what would change nothing is loaded first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ports::{Loaded, Version};
use crate::core::record::Record;
use crate::core::resource::ResourceKey;
use crate::core::schedule::Millis;

/// Most records of one generation; there are two.
const MAX_RECORDS: usize = 8_192;
/// Older ones are not believed: a store that was emptied counts its versions anew.
const GOOD_FOR: Duration = Duration::from_secs(2);

type Generation = HashMap<ResourceKey, (Millis, Version, Record)>;

/// The records of a moment ago.
#[derive(Debug, Default)]
pub(super) struct Recent {
    generations: Mutex<[Generation; 2]>,
}

impl Recent {
    fn generations(&self) -> MutexGuard<'_, [Generation; 2]> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record out, if it is there and fresh.
    pub(super) fn take(&self, key: &ResourceKey, now: Millis) -> Option<Loaded> {
        let [young, old] = &mut *self.generations();
        let (at, version, record) = young.remove(key).or_else(|| old.remove(key))?;
        let members = std::collections::BTreeMap::new();
        (now.since(at) < GOOD_FOR).then(|| Loaded { key: key.clone(), version, record, members })
    }

    /// Forgets all: the store may have lost something.
    pub(super) fn forget(&self) {
        *self.generations() = Default::default();
    }

    /// Keeps records as they were just written.
    pub(super) fn keep(&self, written: Vec<(ResourceKey, Version, Record)>, now: Millis) {
        let mut generations = self.generations();
        for (key, version, record) in written {
            generations[0].insert(key, (now, version, record));
        }
        if generations[0].len() >= MAX_RECORDS {
            generations.swap(0, 1);
            generations[0].clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> ResourceKey {
        format!("User/{n}").parse().unwrap()
    }

    #[test]
    fn a_record_is_taken_once_and_only_while_it_is_fresh() {
        let recent = Recent::default();
        let written = |n| vec![(key(n), Version::of(3), Record::default())];
        recent.keep(written(1), Millis(0));
        recent.keep(written(2), Millis(0));
        assert_eq!(recent.take(&key(1), Millis(1_999)).map(|loaded| loaded.version), Some(Version::of(3)));
        assert_eq!(recent.take(&key(1), Millis(1_999)), None);
        assert_eq!(recent.take(&key(2), Millis(2_000)), None);
    }

    #[test]
    fn it_is_bounded() {
        let recent = Recent::default();
        for n in 0..5 * MAX_RECORDS {
            recent.keep(vec![(key(n), Version::of(1), Record::default())], Millis(0));
        }
        assert!(recent.generations().iter().map(HashMap::len).sum::<usize>() <= 2 * MAX_RECORDS);
        assert!(recent.take(&key(5 * MAX_RECORDS - 1), Millis(0)).is_some());
    }
}
