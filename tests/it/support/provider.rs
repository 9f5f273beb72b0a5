//! The sandbox as a provider that a profile describes, and a relay with the same profile.

use std::collections::BTreeMap;

use scim_relay::sandbox::{Manners, SandboxOptions};
use scim_relay::target::profile::Profile;
use serde_json::Value;

use super::relay::Relay;
use super::sandbox::{Answer, Sandbox, sent};

/// The sandbox with the manners of one profile.
pub struct Provider {
    pub profile: Profile,
    pub sandbox: Sandbox,
}

impl Provider {
    pub async fn start(name: &str) -> Self {
        let options =
            SandboxOptions { profile: Some(Manners::of(name).unwrap()), ..SandboxOptions::on_any_port() };
        Self { profile: profile(name), sandbox: Sandbox::start(options).await }
    }

    pub fn users(&self) -> &str {
        self.profile.users.path.as_deref().unwrap_or("/Users")
    }

    pub fn groups(&self) -> &str {
        self.profile.groups.path.as_deref().unwrap_or("/Groups")
    }

    fn path_of(&self, below: &str) -> String {
        let url = url::Url::parse(&self.sandbox.running.base_url()).unwrap();
        format!("{}{below}", url.path())
    }

    /// A request below the profile's base path, with the profile's media type.
    pub async fn ask(&self, method: &str, below: &str, body: Option<Value>) -> Answer {
        self.ask_at(method, below, body, None).await
    }

    /// With If-Match.
    pub async fn ask_at(&self, method: &str, below: &str, body: Option<Value>, tag: Option<&str>) -> Answer {
        let media_type = self.profile.http.content_type.as_deref().unwrap_or("application/scim+json");
        let mut request = self.sandbox.request(method, &self.path_of(below));
        if let Some(body) = body {
            request = request.header("content-type", media_type).body(body.to_string());
        }
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        sent(request).await.unwrap()
    }

    /// Resources that somebody has put there.
    pub async fn holding(&self, state: Value) -> Value {
        let answer = self.sandbox.admin("POST", "state", Some(state)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.body
    }

    pub async fn state(&self) -> Value {
        self.sandbox.admin("GET", "state", None).await.body
    }

    /// How often each method at each kind of path was answered with a status that is no success.
    pub async fn refused(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.sandbox.requests().await {
            if request["status"].as_u64().unwrap() >= 400 {
                *counts
                    .entry(format!("{} {}", request["status"], request["method"].as_str().unwrap()))
                    .or_default() += 1;
            }
        }
        counts
    }

    /// A relay with the same profile, running.
    pub async fn relay(&self, more: &str) -> Relay {
        let base_url = self.sandbox.running.base_url().parse().unwrap();
        let mut relay = Relay::configured(&base_url, None, more)
            .with("SCIM_RELAY__TARGET__PROFILE", self.profile.name.clone());
        relay.run();
        relay.ready().await;
        relay
    }
}

/// A profile that is shipped, or in a file.
pub fn profile(name: &str) -> Profile {
    Profile::load(name, &|path| std::fs::read_to_string(path)).unwrap()
}
