//! What this replica believes about the target as a whole: pause, ramp-up, who failed in a row. Pure; time is an argument.

use std::collections::BTreeSet;
use std::time::Duration;

use super::circuit::Circuit;
use super::disposition::{Health, Trouble};
use super::resource::ResourceKey;
use super::schedule::Millis;

/// Different resources that fail in a row before the target itself is held to be down.
pub const FAILING_RESOURCES: usize = 5;
/// The first pause after trouble, and after a 429 that names no time; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that the relay chooses itself.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Beliefs about one target.
#[derive(Clone, Debug, Default)]
pub struct TargetHealth {
    failing: BTreeSet<ResourceKey>,
    last_success: Option<Millis>,
    paused_until: Option<Millis>,
    pauses: u32,
    ramp: Option<usize>,
    trouble: Option<Trouble>,
    closed_at: Option<Millis>,
}

impl TargetHealth {
    /// A write was applied, or refused for a reason of its own: the target is there.
    pub fn succeeded(&mut self, now: Millis) {
        self.failing.clear();
        self.last_success = Some(now);
        self.pauses = 0;
        self.trouble = None;
        self.ramp = self.ramp.map(|size| size.saturating_mul(2));
    }

    /// A write failed in a way that may be the target's fault.
    pub fn failed(&mut self, key: &ResourceKey) {
        if self.failing.len() < FAILING_RESOURCES {
            self.failing.insert(key.clone());
        }
    }

    /// Nothing is left to write of this one: if it failed, that was no sign of the target being down.
    pub fn settled(&mut self, key: &ResourceKey) {
        self.failing.remove(key);
    }

    /// True when too many different resources failed in a row.
    pub fn is_down(&self) -> bool {
        self.failing.len() >= FAILING_RESOURCES
    }

    /// The health that a failure of a request sent at `sent` meets: up if another write succeeded since, or if few failed
    /// and the probe succeeded.
    pub fn since(&self, sent: Millis, others_succeeded: bool, probe: Option<bool>) -> Health {
        let succeeded = others_succeeded || self.last_success.is_some_and(|at| at > sent);
        match succeeded || (!self.is_down() && probe == Some(true)) {
            true => Health::Up,
            false => Health::Doubtful,
        }
    }

    /// Nobody sends before `now + wait` (chosen here, and doubling, when the target did not say). Returns the wait.
    pub fn pause(&mut self, now: Millis, wait: Option<Duration>, trouble: Option<Trouble>) -> Duration {
        let chosen = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(6)).min(LONGEST_PAUSE);
        let wait = wait.unwrap_or(chosen);
        self.pauses = self.pauses.saturating_add(1);
        let until = now.plus(wait);
        self.paused_until = Some(self.paused_until.map_or(until, |held| held.max(until)));
        self.trouble = trouble.or(self.trouble);
        self.ramp = Some(1);
        wait
    }

    /// The end of the pause, while it lasts.
    pub fn paused_until(&self, now: Millis) -> Option<Millis> {
        self.paused_until.filter(|until| *until > now)
    }

    /// The trouble that must be probed away before anything is sent.
    pub fn trouble(&self) -> Option<Trouble> {
        self.trouble
    }

    /// The probe answered, here or at another replica: the return is ramped up. Who failed in a row is not forgotten: what
    /// the probe asks for may be answered although no write is.
    pub fn probed(&mut self) {
        self.trouble = None;
        self.ramp = Some(1);
    }

    /// Takes over what another replica has learnt.
    pub fn heed(&mut self, circuit: &Circuit, now: Millis) {
        self.pauses = self.pauses.max(circuit.pauses);
        if let Some(until) = circuit.paused_until.filter(|until| *until > now) {
            self.paused_until = Some(self.paused_until.map_or(until, |held| held.max(until)));
            self.ramp = Some(1);
        }
        if let Some(trouble) = circuit.trouble {
            self.trouble = self.trouble.or(Some(trouble));
        } else if self.closed_at < circuit.closed_at {
            self.probed();
        }
        self.closed_at = circuit.closed_at.max(self.closed_at);
    }

    /// True while the return is ramped up: one request at a time.
    pub fn is_ramping(&self, most: usize) -> bool {
        self.ramp.is_some_and(|ramp| ramp < most)
    }

    /// The next batch has at most so many operations; from there it doubles.
    pub fn shrink(&mut self, size: usize) {
        self.ramp = Some(size.max(1));
    }

    /// The most operations in the next batch: after trouble one, then doubling.
    pub fn batch_limit(&self, most: usize) -> usize {
        self.ramp.map_or(most, |ramp| ramp.clamp(1, most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: usize) -> ResourceKey {
        format!("User/{n}").parse().unwrap()
    }

    #[test]
    fn a_failure_is_the_resources_own_only_when_the_target_is_seen_to_be_up() {
        let mut health = TargetHealth::default();
        assert_eq!(health.since(Millis(5), false, None), Health::Doubtful);
        assert_eq!(health.since(Millis(5), false, Some(false)), Health::Doubtful);
        assert_eq!(health.since(Millis(5), false, Some(true)), Health::Up);
        assert_eq!(health.since(Millis(5), true, None), Health::Up);
        health.succeeded(Millis(6));
        assert_eq!(health.since(Millis(5), false, None), Health::Up);
        assert_eq!(health.since(Millis(6), false, None), Health::Doubtful);
    }

    #[test]
    fn five_resources_in_a_row_make_the_target_down_whatever_the_probe_says() {
        let mut health = TargetHealth::default();
        (0..FAILING_RESOURCES).for_each(|n| health.failed(&key(n)));
        assert_eq!(health.since(Millis(0), false, Some(true)), Health::Doubtful);
        health.probed();
        assert_eq!(health.since(Millis(0), false, Some(true)), Health::Doubtful);
        health.succeeded(Millis(1));
        assert!(!health.is_down());
    }

    #[test]
    fn what_turns_out_to_be_done_is_not_among_those_that_failed_in_a_row() {
        let mut health = TargetHealth::default();
        (0..FAILING_RESOURCES).for_each(|n| health.failed(&key(n)));
        health.settled(&key(3));
        assert_eq!(health.since(Millis(0), false, Some(true)), Health::Up);
    }

    #[test]
    fn one_resource_that_fails_again_and_again_does_not_make_the_target_down() {
        let mut health = TargetHealth::default();
        (0..50).for_each(|_| health.failed(&key(1)));
        assert!(!health.is_down());
    }

    #[test]
    fn pauses_double_and_the_return_is_ramped_up() {
        let mut health = TargetHealth::default();
        let waits: Vec<u64> = (0..8).map(|_| health.pause(Millis(0), None, None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(health.batch_limit(500), 1);
        health.succeeded(Millis(1));
        health.succeeded(Millis(2));
        assert_eq!(health.batch_limit(500), 4);
    }

    #[test]
    fn what_another_replica_has_learnt_counts_here_too() {
        let mut health = TargetHealth::default();
        let mut circuit = Circuit {
            paused_until: Some(Millis(5_000)),
            trouble: Some(Trouble::Down),
            pauses: 3,
            ..Circuit::default()
        };
        health.heed(&circuit, Millis(0));
        assert_eq!(health.paused_until(Millis(0)), Some(Millis(5_000)));
        assert_eq!((health.trouble(), health.batch_limit(100)), (Some(Trouble::Down), 1));
        assert_eq!(health.pause(Millis(6_000), None, None).as_secs(), 8);
        (circuit.trouble, circuit.closed_at) = (None, Some(Millis(20_000)));
        health.heed(&circuit, Millis(20_000));
        assert_eq!(health.trouble(), None);
        assert!(health.is_ramping(100));
    }

    #[test]
    fn the_longer_pause_holds() {
        let mut health = TargetHealth::default();
        health.pause(Millis(0), Some(Duration::from_secs(30)), None);
        health.pause(Millis(0), Some(Duration::from_secs(5)), None);
        assert_eq!(health.paused_until(Millis(29_999)), Some(Millis(30_000)));
        assert_eq!(health.paused_until(Millis(30_000)), None);
    }
}
