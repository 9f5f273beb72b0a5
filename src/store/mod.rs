//! The store: Redis, and the same contract in memory.

pub mod bucket;
pub mod memory;
pub mod redis;
