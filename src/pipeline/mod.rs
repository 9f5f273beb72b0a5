//! The stages: intake, flush, settle. Generic over the traits in [`ports`]; names no client library.

pub mod flush;
pub mod gate;
pub mod head;
pub mod held;
mod in_order;
pub mod intake;
pub mod letters;
pub mod operator;
pub mod ports;
mod recent;
pub mod recover;
pub mod rewind;
pub mod schedule;
pub mod settings;
mod stretch;
pub mod trace;
