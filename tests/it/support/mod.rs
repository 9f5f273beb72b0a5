//! What several tests need.

pub mod amqp;
pub mod dead;
pub mod relay;
pub mod sandbox;
pub mod scim2_server;
pub mod scripted;
