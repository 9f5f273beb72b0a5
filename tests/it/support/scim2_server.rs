//! `scim2-server` (PyPI): a SCIM service provider that nobody here wrote. Installed by `scripts/python-tools`.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

/// The bearer token that it accepts.
pub const TOKEN: &str = "letmein";

/// How long it may take to come up, on a machine that is busy with other tests.
const STARTUP: Duration = Duration::from_secs(60);

/// What it says it can do.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// 1,000 operations, 1 MiB.
    Bulk,
    /// Answers 501 to /Bulk.
    NoBulk,
    /// 5 operations, 4096 bytes.
    SmallBulk,
}

impl Mode {
    fn bulk(self) -> Value {
        match self {
            Mode::Bulk => json!({"supported": true, "maxOperations": 1000, "maxPayloadSize": 1_048_576}),
            Mode::NoBulk => json!({"supported": false, "maxOperations": 0, "maxPayloadSize": 0}),
            Mode::SmallBulk => json!({"supported": true, "maxOperations": 5, "maxPayloadSize": 4096}),
        }
    }

    fn config(self) -> Value {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
            "patch": {"supported": true},
            "bulk": self.bulk(),
            "filter": {"supported": true, "maxResults": 1000},
            "changePassword": {"supported": true},
            "sort": {"supported": true},
            "etag": {"supported": true},
            "authenticationSchemes": [
                {"type": "oauthbearertoken", "name": "Bearer", "description": "a static token"}
            ],
        })
    }
}

/// A running server; it is killed when this value goes.
pub struct Scim2Server {
    child: Child,
    port: u16,
    files: TempDir,
}

impl Scim2Server {
    /// Starts it on a free port and waits until it listens.
    pub fn start(mode: Mode) -> Self {
        for _ in 0..3 {
            if let Some(server) = Self::try_start(mode) {
                return server;
            }
        }
        panic!(
            "scim2-server did not come up; run `scripts/python-tools`, or name its directory in SCIM_RELAY_PYTHON_BIN"
        );
    }

    /// `…/v2`, below which the endpoints are.
    pub fn base_url(&self) -> Url {
        Url::parse(&format!("http://127.0.0.1:{}/v2", self.port)).unwrap()
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.files.path().join("log")).unwrap_or_default()
    }

    /// None when it ended by itself: somebody else may have taken the port meanwhile.
    fn try_start(mode: Mode) -> Option<Self> {
        let files = tempfile::tempdir().unwrap();
        let config = files.path().join("config.json");
        std::fs::write(&config, mode.config().to_string()).unwrap();
        let log = File::create(files.path().join("log")).unwrap();
        let port = free_port();
        let program = python_bin().join("scim2-server");
        let child = Command::new(&program)
            .args(["--hostname", "127.0.0.1", "--port", &port.to_string(), "--bearer-token", TOKEN])
            .arg("--service-provider-config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `scripts/python-tools`", program.display()));
        let mut server = Self { child, port, files };
        server.wait_until_it_listens().then_some(server)
    }

    fn wait_until_it_listens(&mut self) -> bool {
        let deadline = Instant::now() + STARTUP;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if self.child.try_wait().unwrap().is_some() || Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Scim2Server {
    fn drop(&mut self) {
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The directory of the tools that `scripts/python-tools` installs.
pub fn python_bin() -> PathBuf {
    match std::env::var_os("SCIM_RELAY_PYTHON_BIN") {
        Some(directory) => PathBuf::from(directory),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.run/python/bin")),
    }
}
