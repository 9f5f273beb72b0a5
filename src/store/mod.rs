//! The store: Redis, and the same contract in memory.

pub mod memory;
pub mod redis;
