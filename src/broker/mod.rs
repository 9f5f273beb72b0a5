//! RabbitMQ over AMQP 0.9.1: sessions, topology, consuming, publishing.

pub mod connection;
pub mod consumer;
mod death;
pub mod declare;
pub mod feed;
pub mod inspector;
pub mod message;
pub mod publisher;
pub mod scan;
pub mod stream;
pub mod topology;
