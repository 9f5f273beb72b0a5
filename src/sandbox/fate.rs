//! What becomes of one request: decided once, before anything is done.

use std::time::Duration;

use super::dice::Dice;
use super::faults::{Faults, Scope};

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out and answered.
    Answered,
    /// It is refused with this status.
    Refused(u16),
    /// It is neither answered nor applied (or only late).
    HangsBefore,
    /// It is applied and not answered.
    HangsAfter,
    /// The connection is closed, nothing applied.
    DropsBefore,
    /// It is applied, then the connection is closed.
    DropsAfter,
    /// It is applied; the answer breaks off.
    Truncated,
    /// It is applied; the answer is a web page.
    Html,
}

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// GET or .search.
    Read,
    /// One write.
    Write,
    /// Many writes.
    Bulk,
}

impl Scope {
    /// Whether the faults of whole requests hit such a request.
    fn hits(self, nature: Nature) -> bool {
        match (self, nature) {
            (Scope::All, _) => true,
            (Scope::Reads, nature) => nature == Nature::Read,
            (Scope::Writes, nature) => nature != Nature::Read,
            (Scope::Bulk, nature) => nature == Nature::Bulk,
            (Scope::Single, nature) => nature == Nature::Write,
        }
    }
}

/// Decides about a request. Of several faults the first one hits, in the order of this list.
pub fn decide(faults: &Faults, dice: &mut Dice, nature: Nature) -> Fate {
    if !faults.scope.hits(nature) {
        return Fate::Answered;
    }
    [
        (faults.rate_401, Fate::Refused(401)),
        (faults.rate_429, Fate::Refused(429)),
        (faults.rate_500, Fate::Refused(500)),
        (faults.rate_503, Fate::Refused(503)),
        (faults.rate_timeout_before, Fate::HangsBefore),
        (faults.rate_timeout_after, Fate::HangsAfter),
        (faults.rate_drop_before, Fate::DropsBefore),
        (faults.rate_drop_after, Fate::DropsAfter),
        (faults.rate_truncated, Fate::Truncated),
        (faults.rate_html, Fate::Html),
    ]
    .into_iter()
    .find(|(rate, _)| dice.hits(*rate))
    .map_or(Fate::Answered, |(_, fate)| fate)
}

/// How long a request with so many operations takes.
pub fn latency(faults: &Faults, dice: &mut Dice, operations: usize) -> Duration {
    let request = dice.between(faults.latency_min_ms, faults.latency_max_ms);
    let each = (faults.operation_latency_min_ms, faults.operation_latency_max_ms);
    let all: u64 = match each {
        (0, 0) => 0,
        (least, most) => (0..operations).map(|_| dice.between(least, most)).sum(),
    };
    Duration::from_millis(request.saturating_add(all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::faults::Rate;

    fn fates(faults: &Faults, nature: Nature, seed: u64) -> Vec<Fate> {
        let mut dice = Dice::new(seed);
        (0..1000).map(|_| decide(faults, &mut dice, nature)).collect()
    }

    #[test]
    fn a_rate_is_about_the_share_of_requests_and_a_seed_repeats_it() {
        let faults = Faults { rate_500: Rate::try_from(0.2).unwrap(), ..Faults::default() };
        let first = fates(&faults, Nature::Write, 7);
        let hit = first.iter().filter(|fate| **fate == Fate::Refused(500)).count();
        assert!((150..250).contains(&hit), "{hit}");
        assert_eq!(first, fates(&faults, Nature::Write, 7));
        assert_ne!(first, fates(&faults, Nature::Write, 8));
    }

    #[test]
    fn the_scope_spares_other_requests() {
        for (scope, spared) in [
            (Scope::Reads, vec![Nature::Write, Nature::Bulk]),
            (Scope::Writes, vec![Nature::Read]),
            (Scope::Bulk, vec![Nature::Read, Nature::Write]),
            (Scope::Single, vec![Nature::Read, Nature::Bulk]),
            (Scope::All, vec![]),
        ] {
            let faults = Faults { scope, rate_html: Rate::ALWAYS, ..Faults::default() };
            for nature in [Nature::Read, Nature::Write, Nature::Bulk] {
                let fate = if spared.contains(&nature) { Fate::Answered } else { Fate::Html };
                assert_eq!(fates(&faults, nature, 1)[0], fate, "{scope:?} {nature:?}");
            }
        }
    }

    #[test]
    fn latency_grows_with_the_operations() {
        let faults = Faults {
            latency_min_ms: 5,
            operation_latency_min_ms: 1,
            operation_latency_max_ms: 3,
            ..Faults::default()
        };
        let taken = latency(&faults, &mut Dice::new(1), 100).as_millis();
        assert!((105..=305).contains(&taken), "{taken}");
        assert_eq!(latency(&Faults::default(), &mut Dice::new(1), 100), Duration::ZERO);
    }
}
