//! The relay end to end: real RabbitMQ, real Redis, and `scim2-server`, a target that nobody here wrote.

use scim_relay::sample::{Size, compare, generate};
use serde_json::{Value, json};

use crate::support::relay::{Relay, eventually, state};
use crate::support::scim2_server::{Mode, Scim2Server, TOKEN};

fn event(id: u64, kind: &str, subject: &str, data: Value) -> Value {
    json!({
        "specversion": "1.0", "id": format!("e{id}"), "source": "/hr", "type": format!("directory.{kind}"),
        "subject": subject, "sequence": id.to_string(), "data": data,
    })
}

async fn the_target_equals_the_sample(mode: Mode, more: &str) {
    let server = Scim2Server::start(mode);
    let relay = Relay::start(&server.base_url(), Some(TOKEN), more);
    relay.ready().await;
    let sample = generate(7, Size { people: 60, groups: 8, events: 600, managers: true });
    relay.publish(&sample.events);
    relay.settled(sample.events.len()).await;
    let differences = compare(&sample.expected, &state(&server.base_url(), Some(TOKEN)).await.unwrap());
    assert!(
        differences.is_empty(),
        "{} differences: {:#?}",
        differences.len(),
        &differences[..differences.len().min(5)]
    );
    assert_eq!(relay.metric("scim_relay_dead_letters_total", "").await, Some(0.0));
}

#[tokio::test]
async fn a_company_s_history_arrives_in_bulk() {
    the_target_equals_the_sample(Mode::Bulk, "").await;
}

#[tokio::test]
async fn a_company_s_history_arrives_where_bulk_is_off() {
    the_target_equals_the_sample(Mode::NoBulk, "").await;
}

#[tokio::test]
async fn a_company_s_history_arrives_in_small_bulks() {
    the_target_equals_the_sample(Mode::SmallBulk, "").await;
}

#[tokio::test]
async fn single_requests_are_of_equal_quality() {
    the_target_equals_the_sample(Mode::Bulk, "[flush]\nmode = \"single\"").await;
}

#[tokio::test]
async fn a_leaver_is_deactivated_and_a_rehire_is_active_again() {
    let server = Scim2Server::start(Mode::Bulk);
    let relay = Relay::start(&server.base_url(), Some(TOKEN), "");
    relay.ready().await;
    let ana = json!({"userName": "ana@example.com", "title": "Clerk"});
    let active = async || {
        let state = state(&server.base_url(), Some(TOKEN)).await?;
        state["Users"].get(0)?.get("active")?.as_bool()
    };
    relay.publish(&[event(1, "user.put", "e-1", ana.clone())]);
    eventually("she is there", async || active().await.filter(|active| *active)).await;
    relay.publish(&[event(2, "user.delete", "e-1", Value::Null)]);
    eventually("she has left", async || active().await.filter(|active| !active)).await;
    relay.publish(&[event(3, "user.put", "e-1", ana)]);
    eventually("she is back", async || active().await.filter(|active| *active)).await;
}

#[tokio::test]
async fn sigterm_ends_it_in_order() {
    let server = Scim2Server::start(Mode::Bulk);
    let mut relay = Relay::start(&server.base_url(), Some(TOKEN), "");
    relay.ready().await;
    relay.signal("-TERM");
    assert_eq!(relay.ended().await.code(), Some(0), "{}", relay.log());
}

#[tokio::test]
async fn what_is_wrong_becomes_a_dead_letter_and_the_queue_moves_on() {
    let server = Scim2Server::start(Mode::Bulk);
    let relay = Relay::start(&server.base_url(), Some(TOKEN), "[amqp.x]\n".trim_start_matches("[amqp.x]\n"));
    relay.ready().await;
    let mut unordered = event(1, "user.put", "e-1", json!({"userName": "a"}));
    unordered.as_object_mut().unwrap().remove("sequence");
    let unsupported =
        json!({"Operations": [{"op": "replace", "path": "emails[primary eq true]", "value": "x"}]});
    relay.publish(&[
        unordered,
        event(2, "user.frobnicate", "e-2", json!({})),
        event(3, "user.patch", "e-3", unsupported),
        event(4, "user.put", "e-4", json!({"externalId": "other"})),
        event(5, "user.put", "e-5", json!({"userName": "good@example.com"})),
    ]);
    eventually("the good one arrived", async || {
        let state = state(&server.base_url(), Some(TOKEN)).await?;
        state["Users"].get(0).filter(|user| user["externalId"] == "e-5").map(drop)
    })
    .await;
    eventually("the others are dead letters", async || {
        let decode = relay.metric("scim_relay_dead_letters_total", "class=\"decode\"").await?;
        let patch = relay.metric("scim_relay_dead_letters_total", "class=\"unsupported_patch\"").await?;
        (decode == 3.0 && patch == 1.0).then_some(())
    })
    .await;
}
