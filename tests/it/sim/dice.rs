//! Seeded randomness: one generator per part, so that a part's choices do not depend on the others' number of rolls.

use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Dice of one part of the simulation.
#[derive(Debug)]
pub struct Dice(Mutex<StdRng>);

impl Dice {
    /// The dice of `part` in the world of this seed.
    pub fn new(seed: u64, part: &str) -> Self {
        let salt = part.bytes().fold(0u64, |salt, byte| salt.wrapping_mul(131).wrapping_add(byte.into()));
        Self(Mutex::new(StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt)))
    }

    fn roll<T>(&self, roll: impl FnOnce(&mut StdRng) -> T) -> T {
        roll(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// True so many times of 1000.
    pub fn per_mille(&self, chance: u32) -> bool {
        self.roll(|rng| rng.random_range(0..1000) < chance)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.roll(|rng| rng.random_range(low..=high))
    }

    /// An index below `len`.
    pub fn below(&self, len: usize) -> usize {
        self.roll(|rng| rng.random_range(0..len))
    }

    /// One of these.
    pub fn pick<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// Shuffles in place.
    pub fn shuffle<T>(&self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}
