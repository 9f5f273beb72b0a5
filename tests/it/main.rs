//! The integration tests, one binary.

#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests are the outside: they own clocks, processes and tasks")]

mod budget;
mod conflict;
mod contract_cli;
mod contract_events;
mod contract_letters;
mod contract_run;
mod contract_topology;
mod dead;
mod dead_classes;
mod dead_order;
mod dead_queue;
mod guard;
mod ladder;
mod large_group;
mod profile_contract;
mod profiles;
mod profiles_relay;
mod readme;
mod recovery;
mod relay;
mod replicas;
mod rewind;
mod sandbox;
mod sandbox_bulk;
mod sandbox_faults;
mod sandbox_schema;
mod schemas;
mod schemas_letters;
mod scim2_server;
mod scim2_tester;
mod sim;
mod store;
mod strangers;
mod support;
mod target;
mod target_budget;
mod target_tls;
mod tidy;
mod trace;
mod tutorials;
