//! What several tests need.

pub mod relay;
pub mod sandbox;
pub mod scim2_server;
pub mod scripted;
