//! Rate limits as a provider has them: so many in a time, as many at once.

use std::num::NonZeroU32;

use jiff::Timestamp;

/// What a limit lets through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allowance {
    per_second: f64,
    at_once: f64,
}

impl Allowance {
    /// So many a second; 0 is no limit.
    pub fn a_second(count: u32) -> Option<Self> {
        let per_second = f64::from(count);
        (count > 0).then_some(Self { per_second, at_once: per_second })
    }

    /// A rate such as `180/m`, with at most a burst at once; without one all of its time's may come at once.
    pub fn of(rate: &str, burst: Option<NonZeroU32>) -> Option<Self> {
        let (count, unit) = rate.split_once('/')?;
        let count = f64::from(count.parse::<u32>().ok()?);
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let at_once = burst.map_or(count, |burst| f64::from(burst.get()));
        Some(Self { per_second: count / seconds, at_once })
    }
}

/// A bucket that fills at a rate and holds what may come at once.
#[derive(Debug, Default)]
pub struct Bucket {
    level: f64,
    at: Option<Timestamp>,
}

impl Bucket {
    /// Takes `amount` if there is anything left; what is taken too much is missing later.
    ///
    /// # Errors
    /// The whole seconds to wait, at least 1.
    pub fn take(&mut self, limit: Option<Allowance>, amount: usize, now: Timestamp) -> Result<(), u64> {
        let Some(Allowance { per_second, at_once }) = limit else { return Ok(()) };
        let passed = self.at.map(|at| now.duration_since(at).as_secs_f64().max(0.0));
        self.level = passed.map_or(at_once, |passed| (self.level + passed * per_second).min(at_once));
        self.at = Some(now);
        // less than one whole request is nothing
        if self.level < 1.0 {
            let missing = (1.0 - self.level) / per_second;
            return Err((missing.ceil() as u64).max(1));
        }
        self.level -= amount as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn a_second_s_worth_passes_at_once_and_then_the_rate() {
        let mut bucket = Bucket::default();
        let five = Allowance::a_second(5);
        assert!((0..5).all(|_| bucket.take(five, 1, at(0)).is_ok()));
        assert_eq!(bucket.take(five, 1, at(0)), Err(1));
        assert_eq!(bucket.take(five, 1, at(200)), Ok(()));
        assert_eq!(bucket.take(five, 1, at(200)), Err(1));
    }

    #[test]
    fn a_burst_is_what_passes_at_once() {
        let mut bucket = Bucket::default();
        let slow = Allowance::of("180/m", NonZeroU32::new(20));
        assert!((0..20).all(|_| bucket.take(slow, 1, at(0)).is_ok()));
        assert_eq!(bucket.take(slow, 1, at(0)), Err(1));
        assert_eq!(bucket.take(slow, 1, at(400)), Ok(()));
        let mut bucket = Bucket::default();
        let hourly = Allowance::of("1000/h", None);
        assert!((0..1000).all(|_| bucket.take(hourly, 1, at(0)).is_ok()));
        assert_eq!(bucket.take(hourly, 1, at(0)), Err(4));
    }

    #[test]
    fn a_large_amount_is_paid_afterwards() {
        let mut bucket = Bucket::default();
        let hundred = Allowance::a_second(100);
        assert_eq!(bucket.take(hundred, 500, at(0)), Ok(()));
        assert_eq!(bucket.take(hundred, 1, at(3000)), Err(2));
        assert_eq!(bucket.take(hundred, 1, at(5010)), Ok(()));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut bucket = Bucket::default();
        assert!((0..1000).all(|_| bucket.take(Allowance::a_second(0), 1000, at(0)).is_ok()));
    }
}
