//! scim-relay: directory change events from RabbitMQ become SCIM operations at one target.
//!
//! `core`, `decode` and `scim` are pure; `pipeline` is generic over the traits in `pipeline::ports`;
//! `broker`, `store` and `target` hold the effects; `app` builds and wires.

pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod core;
pub mod decode;
pub mod ops;
pub mod pipeline;
pub mod sample;
pub mod sandbox;
pub mod scim;
pub mod store;
pub mod target;
