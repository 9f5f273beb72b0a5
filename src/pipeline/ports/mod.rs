//! What the pipeline needs from the world: a store, a target, a broker. Two real implementations of each.

mod broker;
mod budget;
mod guard;
mod journal;
mod shelf;
mod stamps;
mod store;
mod switch;
mod target;

use std::fmt;

use crate::core::schedule::Millis;

pub use broker::*;
pub use budget::*;
pub use guard::*;
pub use journal::*;
pub use shelf::*;
pub use stamps::*;
pub use store::*;
pub use switch::*;
pub use target::*;

/// The time. Everything that decides takes it as an argument; the stages get it from here.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since the Unix epoch.
    fn now(&self) -> Millis;
}
