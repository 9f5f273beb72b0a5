//! Providers that count requests: the relay keeps below what the profile says, and waits as long as it is told.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::events::event;
use crate::support::provider::Provider;
use crate::support::relay::eventually;

fn put(number: usize) -> Value {
    event(number, "user.put", &format!("e-{number}"), json!({"userName": format!("e-{number}@example.com")}))
}

/// When requests came, and with what status.
async fn requests(provider: &Provider) -> Vec<(Timestamp, u64)> {
    let requests = provider.sandbox.requests().await.into_iter();
    let read = |it: Value| (it["at"].as_str().unwrap().parse().unwrap(), it["status"].as_u64().unwrap());
    requests.map(read).collect()
}

#[tokio::test]
async fn nice_cxone_gets_two_requests_a_second_and_refuses_none_of_them() {
    let provider = Provider::start("nice-cxone").await;
    let relay = provider.relay("[flush]\nmode = \"single\"\n").await;
    relay.publish(&(1..=20).map(put).collect::<Vec<_>>());
    eventually("all are there", async || (provider.sandbox.user_names().await.len() == 20).then_some(()))
        .await;
    let requests = requests(&provider).await;
    assert!(requests.len() > 20, "lookups count too: {}", requests.len());
    assert!(requests.iter().all(|(_, status)| *status < 400), "{requests:?}");
    let span = requests.last().unwrap().0.duration_since(requests[0].0).as_secs_f64();
    assert!(requests.len() as f64 <= 2.0 * span + 2.0, "{} requests in {span} s", requests.len());
}

#[tokio::test]
async fn genesys_cloud_is_left_alone_for_as_long_as_its_sentence_says() {
    let provider = Provider::start("genesys-cloud").await;
    let relay = provider.relay("").await;
    provider.sandbox.set_faults(json!({"rate_429": 1.0, "retry_after": 3})).await;
    relay.publish(&(1..=10).map(put).collect::<Vec<_>>());
    // what was on its way already is refused too; then comes nothing for three seconds
    let (first, next) = eventually("it tries again", async || {
        let mut refused = requests(&provider).await.into_iter().filter(|(_, status)| *status == 429);
        let (first, _) = refused.next()?;
        let (next, _) = refused.find(|(at, _)| at.duration_since(first).as_millis() > 1_000)?;
        Some((first, next))
    })
    .await;
    let waited = next.duration_since(first).as_millis();
    assert!(waited >= 2_900, "{waited} ms");
    provider.sandbox.set_faults(json!({})).await;
    eventually("all are there", async || (provider.sandbox.user_names().await.len() == 10).then_some(()))
        .await;
}
