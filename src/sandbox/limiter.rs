//! Rate limits as a provider has them: so many a second, as many at once.

use jiff::Timestamp;

/// A bucket that fills at a rate and holds one second's worth.
#[derive(Debug, Default)]
pub struct Bucket {
    level: f64,
    at: Option<Timestamp>,
}

impl Bucket {
    /// Takes `amount` if there is anything left; what is taken too much is missing later. A rate of 0 is no limit.
    ///
    /// # Errors
    /// The whole seconds to wait, at least 1.
    pub fn take(&mut self, per_second: u32, amount: usize, now: Timestamp) -> Result<(), u64> {
        if per_second == 0 {
            return Ok(());
        }
        let rate = f64::from(per_second);
        let passed = self.at.map_or(1.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
        self.level = (self.level + passed * rate).min(rate);
        self.at = Some(now);
        // less than one whole request is nothing
        if self.level < 1.0 {
            let missing = (1.0 - self.level) / rate;
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
        assert!((0..5).all(|_| bucket.take(5, 1, at(0)).is_ok()));
        assert_eq!(bucket.take(5, 1, at(0)), Err(1));
        assert_eq!(bucket.take(5, 1, at(200)), Ok(()));
        assert_eq!(bucket.take(5, 1, at(200)), Err(1));
    }

    #[test]
    fn a_large_amount_is_paid_afterwards() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(100, 500, at(0)), Ok(()));
        assert_eq!(bucket.take(100, 1, at(3000)), Err(2));
        assert_eq!(bucket.take(100, 1, at(5010)), Ok(()));
    }

    #[test]
    fn no_rate_is_no_limit() {
        let mut bucket = Bucket::default();
        assert!((0..1000).all(|_| bucket.take(0, 1000, at(0)).is_ok()));
    }
}
