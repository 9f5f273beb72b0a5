//! Everything that runs during the tour: the sandbox, the relay, and the files they need.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Client;
use serde_json::Value;
use tempfile::TempDir;

use crate::processes::Process;

/// How long one answer of the sandbox or of the relay may take.
const HTTP_TIMEOUT: Duration = Duration::from_secs(30);

/// The running parts. The relay is listed first, so that it goes before its target does.
#[derive(Debug)]
pub struct Stage {
    pub relay: Process,
    pub sandbox: Process,
    pub http: Client,
    /// `http://…` of the relay's admin endpoint.
    pub admin_url: String,
    /// `http://…` of the sandbox.
    pub sandbox_url: String,
    pub amqp_url: String,
    pub redis_url: String,
    pub files: TempDir,
}

impl Stage {
    /// Starts sandbox and relay, and waits until both are ready.
    pub async fn set() -> Result<Stage> {
        let amqp_url = address("SCIM_RELAY_TEST_AMQP_URL")?;
        let redis_url = address("SCIM_RELAY_TEST_REDIS_URL")?;
        let files = tempfile::Builder::new().prefix("scim-relay-tour-").tempdir()?;
        let (admin, listen) = (free_address()?, free_address()?);
        let (admin_url, sandbox_url) = (format!("http://{admin}"), format!("http://{listen}"));
        let config = configuration(files.path(), &amqp_url, &redis_url, &sandbox_url, &admin);
        std::fs::write(files.path().join("relay.toml"), config)?;

        // plain HTTP only, but the client wants a provider to be there
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(HTTP_TIMEOUT).no_proxy().build()?;
        let mut sandbox = Process::start("sandbox", files.path(), &["sandbox", "--listen", &listen])?;
        sandbox.ready(&http, &format!("{sandbox_url}/scim/v2/ServiceProviderConfig")).await?;
        let config = files.path().join("relay.toml");
        let mut relay = Process::start("relay", files.path(), &["run", "--config", text(&config)?])?;
        relay.ready(&http, &format!("{admin_url}/readyz")).await?;
        Ok(Stage { relay, sandbox, http, admin_url, sandbox_url, amqp_url, redis_url, files })
    }

    /// Starts publishing the events.
    pub fn publish(&self, events: &[Value]) -> Result<Process> {
        let file = self.files.path().join("events.ndjson");
        let lines: Vec<String> = events.iter().map(Value::to_string).collect();
        std::fs::write(&file, lines.join("\n") + "\n")?;
        let config = self.files.path().join("relay.toml");
        Process::start("publish", self.files.path(), &["publish", "--config", text(&config)?, text(&file)?])
    }

    /// Fails if relay or sandbox have ended.
    pub fn check(&mut self) -> Result<()> {
        self.relay.check()?;
        self.sandbox.check()
    }

    /// What the target holds.
    pub async fn target_state(&self) -> Result<Value> {
        let url = format!("{}/_sandbox/state", self.sandbox_url);
        let answer = self.http.get(url).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// The relay's metrics page.
    pub async fn metrics(&self) -> Result<String> {
        let answer = self.http.get(format!("{}/metrics", self.admin_url)).send().await?.error_for_status()?;
        Ok(answer.text().await?)
    }

    /// Ends the relay as an orchestrator would, then the sandbox.
    pub async fn strike(self) -> Result<()> {
        self.relay.stop().await?;
        drop(self.sandbox);
        Ok(())
    }
}

fn address(variable: &str) -> Result<String> {
    std::env::var(variable)
        .with_context(|| format!("{variable} is not set: use `make run`, or scripts/with-services"))
}

/// Somewhere to listen on loopback.
fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the folder for temporary files has a name that is not UTF-8")
}

/// Names of its own, so that nothing meets what an earlier tour left in a broker that was given by address.
fn configuration(folder: &Path, amqp: &str, redis: &str, sandbox: &str, admin: &str) -> String {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let name: String = name.rsplit('-').next().unwrap_or_default().to_lowercase();
    format!(
        r#"[amqp]
url = {amqp:?}
exchange = "directory.events.tour-{name}"

[redis]
url = {redis:?}

[target]
name = "tour-{name}"
base_url = "{sandbox}/scim/v2"

[admin]
listen = "{admin}"
"#
    )
}
