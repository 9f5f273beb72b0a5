//! Simulation: the real pipeline over a store in memory, with a simulated broker, target and clock, by seed.

mod broker;
mod check;
mod clock;
mod dice;
mod directory;
mod events;
mod examples;
mod faults;
mod guard;
mod history;
mod letters;
mod memberships;
mod model;
mod nested;
mod outage;
mod poison;
mod profiles;
mod properties;
mod replica;
mod scenario;
mod scim_patch;
mod store;
mod story;
mod target;
mod traffic;
mod world;
