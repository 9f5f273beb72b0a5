//! A sandbox of the test's own, and its HTTP.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder};
use scim_relay::sandbox::{Running, SandboxOptions, start};
use serde_json::{Value, json};

use super::relay::reqwest_client;

/// Longer than any answer takes that comes at all.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer; a body that is no JSON is kept as text.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The identifier of the resource.
    pub fn id(&self) -> &str {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id: {self:?}"))
    }

    /// The keyword of an error.
    pub fn scim_type(&self) -> &str {
        self.body["scimType"].as_str().unwrap_or_default()
    }

    /// The results of a bulk request.
    pub fn results(&self) -> &[Value] {
        self.body["Operations"].as_array().unwrap_or_else(|| panic!("no results: {self:?}"))
    }
}

/// The sandbox; it ends with this value.
pub struct Sandbox {
    pub running: Running,
    http: Client,
}

impl Sandbox {
    /// With these faults, given at run time.
    pub async fn with_faults(faults: Value) -> Self {
        let sandbox = Self::start(SandboxOptions::on_any_port()).await;
        sandbox.set_faults(faults).await;
        sandbox
    }

    pub async fn start(options: SandboxOptions) -> Self {
        Self { running: start(options).await.unwrap(), http: reqwest_client() }
    }

    pub async fn set_faults(&self, faults: Value) {
        let answer = self.admin("PUT", "faults", Some(faults)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// A request that was not sent yet. `path` begins at the root.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.http.request(method, format!("{}{path}", self.running.root_url())).timeout(PATIENCE)
    }

    /// A request to the provider that was not sent yet.
    pub fn scim_request(&self, method: &str, path: &str, body: Option<Value>) -> RequestBuilder {
        let request = self.request(method, &format!("/scim/v2{path}"));
        match body {
            Some(body) => request.header("content-type", "application/scim+json").body(body.to_string()),
            None => request,
        }
    }

    pub async fn scim(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        sent(self.scim_request(method, path, body)).await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.scim("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.scim("POST", path, Some(body)).await
    }

    pub async fn bulk(&self, operations: Value) -> Answer {
        self.post("/Bulk", bulk(operations)).await
    }

    /// `/_sandbox/…`
    pub async fn admin(&self, method: &str, what: &str, body: Option<Value>) -> Answer {
        let request = self.request(method, &format!("/_sandbox/{what}"));
        let request = match body {
            Some(body) => request.body(body.to_string()),
            None => request,
        };
        sent(request).await.unwrap()
    }

    /// The user names, in the order of creation.
    pub async fn user_names(&self) -> Vec<String> {
        let state = self.admin("GET", "state", None).await.body;
        let users = state["Users"].as_array().unwrap().iter();
        users.map(|user| user["userName"].as_str().unwrap().to_owned()).collect()
    }

    /// All requests so far.
    pub async fn requests(&self) -> Vec<Value> {
        self.admin("GET", "requests", None).await.body.as_array().unwrap().clone()
    }

    /// Their statuses.
    pub async fn statuses(&self) -> Vec<u64> {
        self.requests().await.iter().map(|it| it["status"].as_u64().unwrap()).collect()
    }

    /// How many of them write.
    pub async fn writes(&self) -> usize {
        self.requests().await.iter().filter(|request| request["method"] != "GET").count()
    }
}

/// The whole answer, or why there is none.
pub async fn sent(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.bytes().await?;
    let text = || Value::String(String::from_utf8_lossy(&bytes).into_owned());
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap_or_else(|_| text())
    };
    Ok(Answer { status, headers, body })
}

pub fn user(name: &str) -> Value {
    json!({"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": name})
}

/// A PatchOp of one operation.
pub fn patch(op: &str, path: &str, value: Value) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{"op": op, "path": path, "value": value}],
    })
}

pub fn bulk(operations: Value) -> Value {
    json!({"schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"], "Operations": operations})
}

/// Bulk operations that create these users, with the names as bulkIds.
pub fn creates(names: &[&str]) -> Value {
    let create =
        |name: &&str| json!({"method": "POST", "path": "/Users", "bulkId": name, "data": user(name)});
    names.iter().map(create).collect()
}
