//! The circuit breaker's position, as all replicas share it.

use std::collections::BTreeSet;

use super::disposition::Trouble;
use super::schedule::{Lane, Millis};

/// Where the switch stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circuit {
    /// Nobody sends before this time.
    pub paused_until: Option<Millis>,
    /// What must be probed away before anything is sent.
    pub trouble: Option<Trouble>,
    /// How many pauses there were since a write last went through.
    pub pauses: u32,
    /// When a probe last ended a trouble.
    pub closed_at: Option<Millis>,
    /// Lanes that an operator stopped.
    pub stopped: BTreeSet<Lane>,
}

/// The breaker's state (contract s7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Writes go out.
    Closed,
    /// One probe may go out.
    HalfOpen,
    /// Nothing goes out.
    Open,
}

impl State {
    /// The word in `status`.
    pub const fn name(self) -> &'static str {
        match self {
            State::Closed => "closed",
            State::HalfOpen => "half-open",
            State::Open => "open",
        }
    }

    /// The value of the metric `circuit_state`.
    pub const fn number(self) -> u8 {
        match self {
            State::Closed => 0,
            State::HalfOpen => 1,
            State::Open => 2,
        }
    }
}

impl Circuit {
    /// The state at this time.
    pub fn state(&self, now: Millis) -> State {
        match (self.paused_until.is_some_and(|until| until > now), self.trouble) {
            (true, _) => State::Open,
            (false, Some(_)) => State::HalfOpen,
            (false, None) => State::Closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_open_while_paused_and_half_open_until_the_trouble_is_probed_away() {
        let mut circuit = Circuit { paused_until: Some(Millis(10)), ..Circuit::default() };
        assert_eq!(circuit.state(Millis(9)), State::Open);
        assert_eq!(circuit.state(Millis(10)), State::Closed);
        circuit.trouble = Some(Trouble::Down);
        assert_eq!(circuit.state(Millis(9)), State::Open);
        assert_eq!(circuit.state(Millis(10)), State::HalfOpen);
    }
}
