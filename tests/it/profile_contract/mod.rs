//! The contract tests of profiles: the sandbox plays the provider that a profile describes, and the relay, which has the same profile,
//! gets through. A profile is `verified` by them.

mod directory;
mod rates;
mod refusals;
mod scenario;

use scim_relay::target::profile::shipped;

use crate::support::provider::profile;

/// The profiles that are played here.
const TESTED: [&str; 6] =
    ["generic", "nice-cxone", "genesys-cloud", "aws-identity-center", "keycloak", "scim2-server"];

#[test]
fn verified_are_the_profiles_with_a_contract_test() {
    let verified: Vec<&str> = shipped().filter(|name| profile(name).verified).collect();
    assert_eq!(verified, TESTED);
}
