//! `pause` and `resume`: an operator stops or starts sending, over all replicas. Intake goes on.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Failure, build, end, environment, failed, load};
use crate::cli::{Exit, SwitchOptions};
use crate::core::circuit::{Circuit, State};
use crate::core::schedule::{Lane, Millis};
use crate::ops::audit::{self, Act};
use crate::ops::clock::SystemClock;
use crate::pipeline::letters::rfc3339;
use crate::pipeline::ports::{Clock, Switch};
use crate::store::redis::RedisStore;

/// `pause`.
pub async fn pause(path: &Path, options: SwitchOptions) -> Exit {
    end(set(path, options, true).await)
}

/// `resume`.
pub async fn resume(path: &Path, options: SwitchOptions) -> Exit {
    end(set(path, options, false).await)
}

async fn set(path: &Path, options: SwitchOptions, stopped: bool) -> Result<Exit, Failure> {
    let config = load(path)?;
    let store = RedisStore::connect(build::redis_options(&config)?).await.map_err(failed)?;
    let lanes: BTreeSet<Lane> = match options.lane {
        Some(lane) => BTreeSet::from([lane.into()]),
        None => Lane::ALL.into(),
    };
    store.set_stopped(&lanes, stopped).await.map_err(failed)?;
    let names: Vec<&str> = lanes.iter().map(|lane| lane.name()).collect();
    let action = if stopped { "pause" } else { "resume" };
    let count = u64::try_from(lanes.len()).unwrap_or(u64::MAX);
    audit::record(&Act {
        who: &audit::who(&environment()),
        action,
        relay: &config.target.name,
        selection: &names.join(" "),
        selected: count,
        done: count,
        reason: options.reason.as_deref(),
    });
    let now = SystemClock.now();
    let circuit = store.circuit().await.map_err(failed)?;
    let still: Vec<&str> = circuit.stopped.iter().map(|lane| lane.name()).collect();
    match still.is_empty() {
        true => println!("{}", sending(&circuit, now)),
        false => println!("stopped: {}; intake goes on", still.join(", ")),
    }
    Ok(Exit::Done)
}

/// No lane is stopped, which is all that an operator can say: whether anything is sent, the circuit breaker has its own word on.
fn sending(circuit: &Circuit, now: Millis) -> String {
    let why = circuit.trouble.map_or("it asked to wait", |trouble| trouble.name());
    match (circuit.state(now), circuit.paused_until) {
        (State::Closed, _) => "no lane is stopped: changes are sent".to_owned(),
        (State::HalfOpen, _) => {
            format!("no lane is stopped, but nothing is sent until a probe finds the target well ({why})")
        }
        (State::Open, until) => {
            let until = until.map_or_else(|| "later".to_owned(), rfc3339);
            format!("no lane is stopped, but nothing is sent before {until}: the circuit is open ({why})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::disposition::Trouble;

    #[test]
    fn who_resumes_hears_whether_anything_is_sent() {
        let now = Millis(1_000);
        let closed = Circuit::default();
        let half_open = Circuit { trouble: Some(Trouble::Down), ..Circuit::default() };
        let open = Circuit { paused_until: Some(Millis(61_000)), ..half_open.clone() };
        let told = [closed, half_open, open].map(|circuit| sending(&circuit, now));
        assert_eq!(
            told,
            [
                "no lane is stopped: changes are sent",
                "no lane is stopped, but nothing is sent until a probe finds the target well (down)",
                "no lane is stopped, but nothing is sent before 1970-01-01T00:01:01Z: the circuit is open (down)",
            ]
        );
    }
}
