//! `dead`: letters for operators (contract s4). The queue is the truth, the index in Redis is for browsing; what changes something
//! goes through the queue in passes, and whatever kills it loses nothing.

mod audit;
mod browse;
mod desk;
mod export;
mod index;
mod lock;
mod outcome;
mod plan;
mod reading;
mod replay;
pub(super) mod selection;
mod shelve;

use std::path::Path;

use self::desk::{Desk, Place};
use super::{Failure, end};
use crate::cli::{DeadAction, Exit};

/// `dead`.
pub async fn dead(path: &Path, action: DeadAction) -> Exit {
    end(act(path, action).await)
}

async fn act(path: &Path, action: DeadAction) -> Result<Exit, Failure> {
    let desk = Desk::open(path).await?;
    match action {
        DeadAction::Summary(look) => browse::summary(&desk, &look).await,
        DeadAction::List(look) => browse::list(&desk, &look).await,
        DeadAction::Show(look) => plan::show(&desk, &look).await,
        DeadAction::Plan(look) => plan::plan(&desk, &look).await,
        DeadAction::Replay(replay) => replay::replay(&desk, &replay).await,
        DeadAction::Discard(change) => shelve::discard(&desk, &change).await,
        DeadAction::Restore(change) => shelve::restore(&desk, &change).await,
        DeadAction::Export(export) => export::export(&desk, &export).await,
        DeadAction::Reindex { parked } => index::reindex_now(&desk, Place::of(parked)).await,
    }
}
