//! Events for which nothing had to be written, told from what came after them. Pure.

use std::collections::{HashMap, HashSet};

use super::{Said, Settlement, Told};
use crate::core::desired::{Words, is_active, is_members};
use crate::core::path::Path;
use crate::core::revision::Revision;

/// The events that said something new when they came, and were pending no more when a later one was written or got its letter:
/// nothing had to be written for them. `seen`: true if a write or a letter names an event.
pub(super) fn passed(events: &[Told], seen: impl Fn(&str) -> bool) -> HashSet<&str> {
    let last = events.iter().rposition(|event| seen(&event.id)).unwrap_or(0);
    let (mut passed, mut before) = (HashSet::new(), Heard::default());
    for event in &events[..last] {
        let Said::Words(words, members) = &event.said else { continue };
        let news = before.hear(words) || *members != Settlement::None || !words.members.is_empty();
        if news && !seen(&event.id) {
            passed.insert(event.id.as_str());
        }
    }
    passed
}

/// The newest words so far.
#[derive(Default)]
struct Heard<'a> {
    put: Option<&'a Revision>,
    deleted: Option<&'a Revision>,
    attributes: HashMap<Path, &'a Revision>,
}

impl<'a> Heard<'a> {
    /// Hears words. True if any of them was as new as all before.
    fn hear(&mut self, words: &'a Words) -> bool {
        let (put, deleted) = (self.put, self.deleted);
        let lifecycle = words.put.iter().chain(&words.deleted);
        let mut news = lifecycle.into_iter().any(|said| put.max(deleted).is_none_or(|floor| said >= floor));
        for (path, said) in &words.attributes {
            let exempt = is_active(path) || is_members(path);
            let floor = if exempt { deleted } else { put.max(deleted) };
            let held = |path: &Path| self.attributes.get(path).copied();
            let newest = floor.max(held(path)).max(held(&path.root()));
            news |= newest.is_none_or(|newest| said >= newest);
            let newest = held(path).map_or(said, |held| held.max(said));
            self.attributes.insert(path.clone(), newest);
        }
        self.put = put.max(words.put.as_ref());
        self.deleted = deleted.max(words.deleted.as_ref());
        news
    }
}
