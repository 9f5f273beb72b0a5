//! A relay under test: the real program, with queues and keys of its own.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use url::Url;

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The broker's address, as `make test` hands it over.
pub fn amqp_url() -> String {
    address("SCIM_RELAY_TEST_AMQP_URL")
}

/// Redis' address, as `make test` hands it over.
pub fn redis_url() -> String {
    address("SCIM_RELAY_TEST_REDIS_URL")
}

fn address(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with `make test`"))
}

/// A name that no other test has.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{:08x}", rand::random::<u32>())
}

/// Waits for a condition.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", PATIENCE.as_secs());
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A configured relay and its process.
pub struct Relay {
    pub target: String,
    pub exchange: String,
    files: TempDir,
    overrides: Vec<(String, String)>,
    child: Option<Child>,
    http: reqwest::Client,
}

impl Relay {
    /// Configured for this target, not started. `more` is TOML that is added.
    pub fn configured(base_url: &Url, token: Option<&str>, more: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (target, exchange) = (unique("t"), unique("events"));
        let auth = match token {
            Some(token) => {
                std::fs::write(files.path().join("token"), token).unwrap();
                let path = files.path().join("token");
                format!("[target.auth]\nkind = \"bearer\"\ntoken = {{ file = {path:?} }}\n")
            }
            None => String::new(),
        };
        let config = format!(
            "[amqp]\nurl = {:?}\nexchange = {exchange:?}\n[redis]\nurl = {:?}\n[target]\nname = {target:?}\n\
             base_url = {:?}\nlate_window = \"2s\"\n{auth}[admin]\nlisten = \"127.0.0.1:0\"\n\
             [retry]\ndelays = [\"200ms\", \"400ms\", \"1s\"]\nmax_attempts = 4\n[journal]\nmax_bytes = \"100MiB\"\n{more}\n",
            amqp_url(),
            redis_url(),
            base_url.as_str(),
        );
        std::fs::write(files.path().join("relay.toml"), config).unwrap();
        let http = reqwest_client();
        Self { target, exchange, files, overrides: Vec::new(), child: None, http }
    }

    /// Another process with the same configuration, not started.
    pub fn replica(&self) -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::copy(self.files.path().join("relay.toml"), files.path().join("relay.toml")).unwrap();
        let (target, exchange) = (self.target.clone(), self.exchange.clone());
        Self {
            target,
            exchange,
            files,
            overrides: self.overrides.clone(),
            child: None,
            http: reqwest_client(),
        }
    }

    /// With this variable in its environment from now on: `SCIM_RELAY__SECTION__KEY`, for one.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.overrides.retain(|(held, _)| held != name);
        self.overrides.push((name.to_owned(), value.into()));
        self
    }

    /// The name of one of its objects in RabbitMQ.
    pub fn object(&self, last: &str) -> String {
        format!("scim-relay.{}.{last}", self.target)
    }

    /// Configured and started.
    pub fn start(base_url: &Url, token: Option<&str>, more: &str) -> Self {
        let mut relay = Self::configured(base_url, token, more);
        relay.run();
        relay
    }

    /// Starts the process.
    pub fn run(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path()).unwrap();
        let child = self.command().arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.unwrap());
    }

    /// The program with its configuration.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_scim-relay"));
        command.arg("--config").arg(self.files.path().join("relay.toml"));
        command.env("RUST_LOG", "info").envs(self.overrides.iter().map(|(name, value)| (name, value)));
        command
    }

    fn log_path(&self) -> PathBuf {
        self.files.path().join("log")
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// The admin address that it logged last.
    pub fn admin(&self) -> Option<String> {
        let log = self.log();
        let at = log.rfind("admin listening on ")?;
        Some(log[at + "admin listening on ".len()..].split('"').next()?.to_owned())
    }

    /// A page of the admin endpoint.
    pub async fn get(&self, path: &str) -> Option<(u16, String)> {
        let response = self.http.get(format!("{}{path}", self.admin()?)).send().await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }

    /// Waits until it consumes.
    pub async fn ready(&self) {
        eventually("the relay is ready", async || {
            self.get("/readyz").await.filter(|(status, _)| *status == 200)
        })
        .await;
    }

    /// Publishes events with the program itself.
    pub fn publish(&self, events: &[Value]) {
        let lines: String = events.iter().map(|event| format!("{event}\n")).collect();
        let file = self.files.path().join("events.ndjson");
        std::fs::write(&file, lines).unwrap();
        let output = self.command().arg("publish").arg(&file).output().unwrap();
        assert!(output.status.success(), "publish: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The sum of a metric over all labels that contain `labels`.
    pub async fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        let (_, page) = self.get("/metrics").await?;
        let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(labels));
        Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Waits until so many events were merged, refused or ignored, and nothing is pending.
    pub async fn settled(&self, events: usize) {
        let late = Instant::now() + PATIENCE - Duration::from_secs(5);
        eventually("all events are merged and nothing is pending", async || {
            let mut done = self.metric("scim_relay_events_merged_total", "").await?;
            for format in ["ignored", "undecodable"] {
                done += self.metric("scim_relay_events_received_total", &format!("{format:?}")).await?;
            }
            let pending = self.metric("scim_relay_resources_pending", "").await?;
            let settled = done >= events as f64 && pending == 0.0;
            if !settled && Instant::now() > late {
                panic!("not settled:\n{}", self.progress().await);
            }
            settled.then_some(())
        })
        .await;
    }

    /// The processor time that it has used so far (Linux).
    pub fn cpu(&self) -> Duration {
        let process = self.child.as_ref().expect("it runs").id();
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        // behind the name in parentheses: the state, ten numbers, and then ticks of a hundredth of a second
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 1..].split_whitespace().collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// The metrics that tell how far it has come.
    pub async fn progress(&self) -> String {
        let (_, page) = self.get("/metrics").await.unwrap_or_default();
        let telling =
            page.lines().filter(|l| !l.starts_with('#') && !l.contains("bucket") && !l.contains("_sum"));
        telling.collect::<Vec<_>>().join("\n")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = self.child.as_mut().expect("it runs");
        eventually("the relay ends", async || child.try_wait().unwrap()).await
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // it may have ended already
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the relay's last lines");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// A client of this process' own.
pub fn reqwest_client() -> reqwest::Client {
    // a second installation keeps the first one
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// All resources of a SCIM target, as the sandbox' state would show them.
pub async fn state(base_url: &Url, token: Option<&str>) -> Option<Value> {
    let http = reqwest_client();
    let mut state = serde_json::Map::new();
    for kind in ["Users", "Groups"] {
        let mut all = Vec::new();
        loop {
            let url = format!(
                "{}/{kind}?startIndex={}&count=200",
                base_url.as_str().trim_end_matches('/'),
                all.len() + 1
            );
            let mut request = http.get(url);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            let page: Value = serde_json::from_slice(&request.send().await.ok()?.bytes().await.ok()?).ok()?;
            let resources = page["Resources"].as_array().cloned().unwrap_or_default();
            let total = page["totalResults"].as_u64()? as usize;
            all.extend(resources.iter().cloned());
            if resources.is_empty() || all.len() >= total {
                break;
            }
        }
        state.insert(kind.to_owned(), Value::Array(all));
    }
    Some(Value::Object(state))
}
