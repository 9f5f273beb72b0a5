//! What several tests need.

pub mod amqp;
pub mod dead;
pub mod events;
pub mod provider;
pub mod redis_servers;
pub mod relay;
pub mod resending_line;
pub mod sandbox;
pub mod scim2_server;
pub mod scripted;
pub mod switch;
