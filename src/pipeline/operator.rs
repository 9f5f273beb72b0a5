//! What operators ask for one resource: look at it again, or forget it.

use super::ports::{Load, Place, Reschedule, Store, StoreError, Swap, Swapped};
use super::schedule::lane;
use crate::core::resource::ResourceKey;
use crate::core::schedule::{Due, Millis};

/// Has the target read again, and the resource planned anew. False: nothing is known about it.
pub async fn verify<S: Store>(store: &S, key: &ResourceKey, now: Millis) -> Result<bool, StoreError> {
    loop {
        let loads = [Load { key: key.clone(), members: Vec::new() }];
        let Some(loaded) = store.load(&loads).await?.pop().filter(|loaded| loaded.version.counter > 0) else {
            return Ok(false);
        };
        let mut record = loaded.record;
        record.verify = true;
        record.etag = None;
        record.gone = false;
        record.due = Some(Due { lane: lane(key, &record), at: now });
        let swap = Swap {
            key: key.clone(),
            expected: loaded.version,
            record,
            members: Vec::new(),
            reschedule: Reschedule::AsRecord,
        };
        if let Some(Swapped::Done { .. }) = store.swap(&[swap]).await?.pop() {
            return Ok(true);
        }
    }
}

/// Has everything that is known read again; says how many that are. `progress` is told after each page.
pub async fn verify_all<S: Store>(
    store: &S,
    now: Millis,
    mut progress: impl FnMut(u64),
) -> Result<u64, StoreError> {
    let (mut place, mut count) = (Some(Place::default()), 0);
    while let Some(at) = place {
        let (keys, next) = store.resources(at).await?;
        for key in keys {
            count += u64::from(verify(store, &key, now).await?);
        }
        progress(count);
        place = next;
    }
    Ok(count)
}
