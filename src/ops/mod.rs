//! Operation: telemetry, metrics, the admin endpoint, shutdown.

pub mod admin;
pub mod audit;
pub mod check;
pub mod clock;
pub mod explanation;
pub mod letter;
pub mod metrics;
pub mod shutdown;
pub mod status;
pub mod story;
pub mod telemetry;
