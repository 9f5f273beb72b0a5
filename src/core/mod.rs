//! The pure core: no async, clock, randomness, I/O or logging.

pub mod applied;
pub mod budget;
pub mod canonical;
pub mod change;
pub mod circuit;
pub mod desired;
pub mod disposition;
pub mod fate;
pub mod foresee;
pub mod gap;
pub mod guard;
pub mod health;
pub mod implied;
pub mod letter;
pub mod mark;
pub mod matching;
mod name;
pub mod operation;
pub mod outcome;
pub mod path;
pub mod plan;
pub mod record;
pub mod resource;
pub mod retry;
pub mod revision;
pub mod schedule;
pub mod settle;
