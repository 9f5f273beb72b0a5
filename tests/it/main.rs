//! The integration tests, one binary.

#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests are the outside: they own clocks, processes and tasks")]

mod relay;
mod sandbox;
mod sandbox_bulk;
mod sandbox_faults;
mod sandbox_schema;
mod scim2_server;
mod scim2_tester;
mod sim;
mod support;
mod target;
mod target_tls;
mod tidy;
