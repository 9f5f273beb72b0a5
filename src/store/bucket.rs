//! Buckets: every resource lies in one, with its place in the schedule. A lease holds in the buckets of what it was
//! renewed for.

use sha2::{Digest, Sha256};

/// Buckets of one target: few enough to poll, enough to spread over a cluster.
pub const BUCKETS: u8 = 16;

/// The bucket of a name.
pub fn bucket_of(name: &str) -> u8 {
    Sha256::digest(name.as_bytes())[0] % BUCKETS
}
