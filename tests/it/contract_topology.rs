//! AMQP objects (contract s3): declared, used as they are, reported, unbound.

use lapin::ExchangeKind;
use lapin::types::AMQPValue;
use serde_json::json;

use crate::support::amqp::Amqp;
use crate::support::relay::Relay;
use crate::support::sandbox::Sandbox;

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

async fn configured() -> (Sandbox, Relay, Amqp) {
    let sandbox = Sandbox::with_faults(json!({})).await;
    let relay = Relay::configured(&sandbox.running.base_url().parse().unwrap(), None, "");
    (sandbox, relay, Amqp::connect().await)
}

/// Exit code and what was printed to stdout.
fn ran(relay: &Relay, arguments: &[&str]) -> (i32, String) {
    let output = relay.command().args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn what_is_missing_is_told_then_declared_and_equal_ever_after() {
    let (_sandbox, relay, _amqp) = configured().await;
    let (code, told) = ran(&relay, &["topology", "verify"]);
    assert_eq!(code, 1);
    assert!(told.contains(&relay.object("journal")) && told.contains("does not exist"), "{told}");
    for command in [["topology", "apply"], ["topology", "apply"], ["topology", "verify"]] {
        assert_eq!(ran(&relay, &command).0, 0, "{command:?}");
    }
    let (code, told) = ran(&relay, &["topology", "verify", "--json"]);
    assert_eq!((code, told.as_str()), (0, ""));
}

#[tokio::test]
async fn the_publishers_exchange_is_used_as_it_is() {
    let (_sandbox, mut relay, amqp) = configured().await;
    amqp.declare_exchange(&relay.exchange, ExchangeKind::Fanout).await;
    relay.run();
    relay.ready().await;
    assert_eq!(ran(&relay, &["topology", "verify"]).0, 0);
}

#[tokio::test]
async fn a_queue_with_other_limits_is_used_and_reported_with_the_way_out() {
    let (_sandbox, mut relay, amqp) = configured().await;
    let dead = relay.object("dead");
    amqp.declare(&dead, &[("x-queue-type", text("quorum")), ("x-delivery-limit", AMQPValue::LongLongInt(5))])
        .await;
    let (code, told) = ran(&relay, &["topology", "apply"]);
    assert_eq!(code, 1);
    assert!(
        told.contains("x-delivery-limit") && told.contains("rabbitmqctl") && told.contains(&dead),
        "{told}"
    );
    relay.run();
    relay.ready().await;
}

#[tokio::test]
async fn a_queue_that_would_break_a_promise_is_refused() {
    for arguments in [vec![], vec![("x-queue-type", text("quorum"))]] {
        let (_sandbox, mut relay, amqp) = configured().await;
        amqp.declare(&relay.object("work"), &arguments).await;
        relay.run();
        assert_eq!(relay.ended().await.code(), Some(3), "{arguments:?}");
        assert!(relay.log().contains("rabbitmqctl"), "{}", relay.log());
    }
}

#[tokio::test]
async fn a_binding_that_the_configuration_no_longer_names_is_removed() {
    let (_sandbox, mut relay, amqp) = configured().await;
    let bindings = "SCIM_RELAY__AMQP__BINDINGS";
    relay = relay.with(bindings, r#"["directory.user.*", "more.#"]"#);
    relay.run();
    relay.ready().await;
    assert!(amqp.publish(&relay.exchange, "more.of.it", Default::default(), b"{}").await);
    relay.signal("-TERM");
    relay.ended().await;
    relay = relay.with(bindings, r#"["directory.user.*"]"#);
    relay.run();
    relay.ready().await;
    assert!(
        !amqp.publish(&relay.exchange, "more.of.it", Default::default(), b"{}").await,
        "it is bound still"
    );
    amqp.close().await;
}
