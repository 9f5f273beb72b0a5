//! The retry schedule (contract s3.1): wait = delays[min(attempt, n) - 1]; at `max_attempts` it is dead.

use std::time::Duration;

/// The ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder {
    /// Waits, one per rung, increasing.
    pub delays: Vec<Duration>,
    /// Failures of its own after which a resource's change is dead.
    pub max_attempts: u32,
}

/// What a failure leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Wait on this rung.
    Rung {
        /// Its place in `delays`.
        index: usize,
        /// How long it holds.
        wait: Duration,
    },
    /// No attempt is left.
    Spent,
}

impl Ladder {
    /// After the `attempt`-th failure in a row; `at_least`: what the target asked for (Retry-After).
    pub fn after(&self, attempt: u32, at_least: Option<Duration>) -> Next {
        if attempt >= self.max_attempts || self.delays.is_empty() {
            return Next::Spent;
        }
        let by_attempt = usize::try_from(attempt.max(1) - 1).unwrap_or(usize::MAX).min(self.delays.len() - 1);
        let asked = at_least.unwrap_or_default();
        let by_wait = self.delays.iter().position(|delay| *delay >= asked).unwrap_or(self.delays.len() - 1);
        let index = by_attempt.max(by_wait);
        Next::Rung { index, wait: self.delays[index] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ladder() -> Ladder {
        Ladder { delays: [1, 5, 15].map(Duration::from_secs).to_vec(), max_attempts: 5 }
    }

    fn rung(index: usize) -> Next {
        Next::Rung { index, wait: ladder().delays[index] }
    }

    #[test]
    fn waits_follow_the_schedule_and_end() {
        let steps: Vec<Next> = (1..=5).map(|attempt| ladder().after(attempt, None)).collect();
        assert_eq!(steps, [rung(0), rung(1), rung(2), rung(2), Next::Spent]);
    }

    #[test]
    fn what_the_target_asks_for_is_respected() {
        assert_eq!(ladder().after(1, Some(Duration::from_secs(6))), rung(2));
        assert_eq!(ladder().after(1, Some(Duration::from_secs(600))), rung(2));
    }
}
