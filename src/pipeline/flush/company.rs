//! Company: a batch that is not full waits for it, in the schedule or already taken, while requests in flight may make more due.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Flush;
use super::in_flight::Batch;
use crate::core::schedule::{Lane, Millis};
use crate::pipeline::ports::{Publisher, Store, StoreError, Target};

/// A batch that is not full waits for company so many times `linger` for each request in flight, counted from when a batch was
/// last set off or ended; after one that was half full it does so too where none is in flight.
const PATIENCE: u32 = 8;

/// No more than this for each request, unless `linger` itself is longer.
const LONGEST: Duration = Duration::from_millis(400);

/// What a request made due is there so many times `linger` after it ended, at the latest.
const AFTERMATH: u32 = 2;

fn patience(linger: Duration, requests: usize) -> Duration {
    (linger * PATIENCE).min(LONGEST).max(linger) * u32::try_from(requests).unwrap_or(u32::MAX)
}

/// The batches of the patient lanes.
#[derive(Debug, Default)]
pub(super) struct Company {
    /// Set off and not ended.
    batches: usize,
    /// Those of them that wait to be filled up, by their size so far.
    gathering: BTreeMap<Batch, usize>,
    /// When one was last set off or ended, and how many resources the last one had.
    last: Option<(Millis, usize)>,
}

impl Company {
    pub fn set_off(&mut self, now: Millis, size: usize) {
        self.batches += 1;
        self.last = Some((now, size));
    }

    pub fn ended(&mut self, now: Millis) {
        self.batches -= 1;
        if let Some((moved, _)) = &mut self.last {
            *moved = now;
        }
    }

    /// This one waits to be filled up, and has so many resources.
    pub fn gathers(&mut self, batch: Batch, size: usize) {
        self.gathering.insert(batch, size);
    }

    pub fn gathered(&mut self, batch: Batch) {
        self.gathering.remove(&batch);
    }

    fn sending(&self) -> usize {
        self.batches.saturating_sub(self.gathering.len())
    }

    /// How many requests may make more due for one that gathers: those in flight, and those of others that gather and are
    /// fuller, which go first.
    fn ahead_of(&self, batch: Batch) -> usize {
        let own = self.gathering.get(&batch).map(|size| (*size, batch));
        let fuller = self.gathering.iter().filter(|(other, size)| Some((**size, **other)) > own).count();
        self.sending() + fuller
    }

    /// Whether one that gathers since then waits on: each batch that is set off or ends meanwhile begins its patience anew, and
    /// there are only so many, as none that is not full sets off beside one that gathers.
    fn is_worth_waiting(&self, batch: Batch, since: Millis, now: Millis, linger: Duration) -> bool {
        let moved = self.last.map_or(since, |(at, _)| at.max(since));
        now.since(moved) < patience(linger, self.ahead_of(batch)).max(AFTERMATH * linger)
    }

    /// How long a batch that is not full waits, after one of so many resources at most.
    fn patience(&self, linger: Duration, limit: usize) -> Duration {
        let half_full = self.last.is_some_and(|(_, size)| 2 * size >= limit);
        patience(linger, self.sending().max(usize::from(half_full)))
    }
}

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// While requests are in flight, a batch that is not full waits for company, longer the more there are.
    pub(super) async fn worth_sending(
        &self,
        limit: usize,
        lanes: &[Lane],
        (now, due): (Millis, Millis),
    ) -> Result<bool, StoreError> {
        let at_once = {
            let company = &self.learnt().company;
            let patience = company.patience(self.settings.linger, limit);
            // one that waits to be filled up takes what is due, as long as that is little
            let waited =
                company.gathering.is_empty() && company.last.is_none_or(|(at, _)| now.since(at) >= patience);
            waited || limit <= 1
        };
        Ok(at_once || self.store.due_count(lanes, due).await? >= limit)
    }

    /// True while a batch that gathers since then may hope that other requests make more due.
    pub(super) fn has_company(&self, batch: Batch, since: Millis) -> bool {
        self.learnt().company.is_worth_waiting(batch, since, self.clock.now(), self.settings.linger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::flush::in_flight::InFlight;

    const LINGER: Duration = Duration::from_millis(50);

    #[test]
    fn patience_is_a_few_times_linger_but_not_much() {
        let after = |millis| patience(Duration::from_millis(millis), 1).as_millis();
        assert_eq!([after(5), after(50), after(100), after(1_000)], [40, 400, 400, 1_000]);
    }

    #[test]
    fn a_lone_batch_waits_for_nothing() {
        assert_eq!(Company::default().patience(LINGER, 500), Duration::ZERO);
    }

    #[test]
    fn the_more_requests_are_in_flight_the_longer_it_waits() {
        let mut company = Company::default();
        company.set_off(Millis(0), 10);
        company.set_off(Millis(5), 10);
        assert_eq!(company.patience(LINGER, 500), patience(LINGER, 2));
        company.ended(Millis(9));
        assert_eq!(
            (company.patience(LINGER, 500), company.last),
            (patience(LINGER, 1), Some((Millis(9), 10)))
        );
    }

    #[test]
    fn after_a_batch_that_was_half_full_more_may_come() {
        let mut company = Company::default();
        company.set_off(Millis(0), 250);
        company.ended(Millis(1));
        assert_eq!(company.patience(LINGER, 500), patience(LINGER, 1));
    }

    #[test]
    fn of_those_that_gather_the_fullest_goes_first() {
        let (mut company, mut in_flight) = (Company::default(), InFlight::default());
        let (one, two) = (in_flight.open(), in_flight.open());
        for (batch, size) in [(one, 300), (two, 480)] {
            company.set_off(Millis(0), 500);
            company.gathers(batch, size);
        }
        assert_eq!((company.ahead_of(one), company.ahead_of(two)), (1, 0));
        company.gathers(one, 480);
        assert_eq!((company.ahead_of(one), company.ahead_of(two)), (1, 0), "one of them must go");
        company.gathered(two);
        assert_eq!(company.ahead_of(one), 1, "now it is in flight");
    }

    #[test]
    fn one_that_gathers_is_patient_anew_whenever_another_ends() {
        let (mut company, mut in_flight) = (Company::default(), InFlight::default());
        let one = in_flight.open();
        for _ in 0..3 {
            company.set_off(Millis(0), 500);
        }
        company.gathers(one, 300);
        let waits = |company: &Company, at| company.is_worth_waiting(one, Millis(0), Millis(at), LINGER);
        assert!(waits(&company, 799) && !waits(&company, 800), "two are in flight");
        company.ended(Millis(700));
        assert!(waits(&company, 1_099) && !waits(&company, 1_100), "one is");
        company.ended(Millis(1_000));
        assert!(waits(&company, 1_099) && !waits(&company, 1_100), "nobody is left to wait for");
    }
}
