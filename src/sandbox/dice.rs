//! The sandbox's only source of chance: what a seed gives, it gives again.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, RngCore, SeedableRng};

use super::faults::Rate;
use super::members::Id;

/// A seeded generator.
#[derive(Debug)]
pub struct Dice(StdRng);

impl Dice {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// Whether a fault of this rate hits. A rate of 0 leaves the sequence of chance as it is.
    pub fn hits(&mut self, rate: Rate) -> bool {
        rate.value() > 0.0 && self.0.random_bool(rate.value())
    }

    /// A number from `least` to `most`; `least` where that is greater.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        if most <= least { least } else { self.0.random_range(least..=most) }
    }

    /// Another order.
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        list.shuffle(&mut self.0);
    }

    /// A new identifier in the form of a UUID.
    pub fn id(&mut self) -> Id {
        let (a, b) = (self.0.next_u64(), self.0.next_u64());
        let text = format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | ((b >> 48) & 0x3fff),
            b & 0xffff_ffff_ffff
        );
        text.into()
    }

    /// A new access token.
    pub fn token(&mut self) -> String {
        format!("{:016x}{:016x}", self.0.next_u64(), self.0.next_u64())
    }
}
