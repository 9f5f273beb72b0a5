//! What several tests need.

pub mod relay;
pub mod scim2_server;
pub mod scripted;
