//! The windows of the guard against mass deprovisioning, shared by all replicas.

use std::future::Future;

use super::StoreError;
use crate::core::guard::{Admission, Limits};
use crate::core::resource::{ResourceKey, ResourceType};
use crate::core::schedule::Millis;

/// Places in the windows. Every call may be repeated.
pub trait Guard: Send + Sync + 'static {
    /// Takes a place for each of these resources of one type, as long as the limits allow, all replicas together. Asked
    /// before anything is sent; a place is never given back. The answers come in the order asked.
    fn admit(
        &self,
        kind: ResourceType,
        keys: &[ResourceKey],
        limits: &Limits,
        now: Millis,
    ) -> impl Future<Output = Result<Vec<Admission>, StoreError>> + Send;

    /// Gives back places that were taken in a life of the store that ended, each at its time.
    fn restore(
        &self,
        kind: ResourceType,
        places: &[(ResourceKey, Millis)],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
