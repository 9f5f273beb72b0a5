//! What several tests need.

pub mod dead;
pub mod relay;
pub mod sandbox;
pub mod scim2_server;
pub mod scripted;
