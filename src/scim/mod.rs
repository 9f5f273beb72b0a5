//! The relay's own SCIM wire layer (RFC 7643, RFC 7644): pure, tolerant in what it reads, strict in what it writes.

pub mod bulk;
pub mod capabilities;
pub mod correlate;
pub mod error;
pub mod filter;
pub mod lenient;
pub mod list;
pub mod percent;
pub mod resource;
pub mod retry_after;
