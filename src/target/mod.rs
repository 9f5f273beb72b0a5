//! The target over HTTP: requests out, answers in, nothing decided. Implements [`crate::pipeline::ports::Target`].
//!
//! - `client`: operations and queries as requests; `find`: lookups, paged.
//! - `call`: one request with its token, a second try after a 401, redirects on the same host; `limiter`: its place in the budget.
//! - `exchange`: one attempt on the wire, with its limits; `failure`: what a broken one means.
//! - `auth`: static tokens and such that are fetched; `answer`: from bytes to answers.
//! - `profile`: what is special about a kind of target, as data.

mod answer;
mod auth;
mod call;
mod client;
mod exchange;
mod failure;
mod find;
mod limiter;
mod observer;
mod options;
pub mod profile;
mod token;

pub use client::HttpTarget;
pub use limiter::Limiter;
pub use observer::{Observer, RequestKind, Seen};
pub use options::{
    AccessKey, AuthOptions, BuildError, ClientAuth, ClientCredentials, TargetOptions, TlsOptions,
};
pub use profile::{BulkCosts, Profile};
