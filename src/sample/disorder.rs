//! What happens to events on their way: late ones, repeated ones, hardly one in its place.

use rand::Rng;
use rand::rngs::StdRng;
use serde_json::Value;

/// How far an event usually strays, in places.
const STRAY: usize = 250;
/// How far a late one does.
const LATE: usize = 3_000;
/// How many are late.
const LATE_SHARE: f64 = 0.01;

/// Repeats events until there are `total`, and moves all of them about.
pub(super) fn disorder(rng: &mut StdRng, history: Vec<Value>, total: usize) -> Vec<Value> {
    let told = history.len();
    let mut placed: Vec<(usize, Value)> =
        history.into_iter().enumerate().map(|(place, event)| (place + delay(rng), event)).collect();
    for _ in told..total {
        let (place, event) = placed[rng.random_range(0..told)].clone();
        placed.push((place + delay(rng), event));
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, event)| event).collect()
}

fn delay(rng: &mut StdRng) -> usize {
    let most = if rng.random_bool(LATE_SHARE) { LATE } else { STRAY };
    rng.random_range(0..most)
}
