//! Redis servers of a test's own: programs of this machine, else processes in one container.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::Rng;
use tempfile::TempDir;

use super::relay::{PATIENCE, unique};

/// Ports that no system hands out by itself; a cluster's bus listens 10,000 above.
const PORTS: std::ops::Range<u16> = 11_000..20_000;
/// How often other ports are tried: somebody may take one between looking and listening.
const ATTEMPTS: usize = 3;
/// What every server is started with; the port and a test's own arguments follow.
const ARGUMENTS: [&str; 8] =
    ["--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction", "--loglevel", "warning"];

/// Servers that are started and killed together. They keep their ports, and nothing else.
pub struct RedisServers {
    ports: Vec<u16>,
    arguments: Vec<String>,
    running: Vec<Running>,
}

/// A process, and what it needs.
struct Running {
    child: Child,
    container: Option<String>,
    _files: TempDir,
}

impl RedisServers {
    /// Starts one server.
    pub async fn one(arguments: &[&str]) -> Self {
        Self::start(1, arguments).await
    }

    /// Starts several, and waits until each answers.
    pub async fn start(count: usize, arguments: &[&str]) -> Self {
        for _ in 0..ATTEMPTS {
            let ports = free_ports(count);
            let arguments = arguments.iter().map(ToString::to_string).collect();
            let mut servers = Self { ports, arguments, running: Vec::new() };
            if servers.run().await {
                return servers;
            }
        }
        panic!("no Redis server came up: install redis-server, or start Docker and see scripts/services");
    }

    /// The address of the nth.
    pub fn url(&self, nth: usize) -> String {
        format!("redis://127.0.0.1:{}/", self.ports[nth])
    }

    /// The addresses of all.
    pub fn urls(&self) -> Vec<String> {
        (0..self.ports.len()).map(|nth| self.url(nth)).collect()
    }

    /// The port of the nth.
    pub fn port(&self, nth: usize) -> u16 {
        self.ports[nth]
    }

    /// Sends one command to the nth, on a connection of its own.
    pub async fn command<V: redis::FromRedisValue>(&self, nth: usize, words: &[&str]) -> V {
        let mut connection = connect(&self.url(nth)).await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// Kills all, without a word.
    pub fn kill(&mut self) {
        self.running.clear();
    }

    /// Starts them again on the same ports, empty.
    pub async fn restart(&mut self) {
        assert!(self.run().await, "the servers did not come up again on {:?}", self.ports);
    }

    async fn run(&mut self) -> bool {
        self.running = match local_program() {
            Some(program) => self.ports.iter().map(|port| self.local(&program, *port)).collect(),
            None => vec![self.container()],
        };
        for nth in 0..self.ports.len() {
            if !self.answers(nth).await {
                return false;
            }
        }
        true
    }

    async fn answers(&mut self, nth: usize) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while connect(&self.url(nth)).await.is_err() {
            let ended = self.running.iter_mut().any(|running| running.child.try_wait().unwrap().is_some());
            if ended || Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        true
    }

    fn local(&self, program: &PathBuf, port: u16) -> Running {
        let files = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.args(ARGUMENTS).args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.arg("--dir").arg(files.path()).args(&self.arguments);
        Running { child: quietly(command), container: None, _files: files }
    }

    /// All of them in one container, with the same ports inside and outside, so that what cluster nodes tell about each
    /// other is true on both sides. It runs attached: signals to this test's process group reach it.
    fn container(&self) -> Running {
        let name = unique("scim-relay-test-redis");
        let image = std::env::var("SCIM_RELAY_TEST_REDIS_IMAGE").unwrap_or_else(|_| "redis:8".into());
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "--init", "--name", &name, "--entrypoint", "sh"]);
        for port in &self.ports {
            command.args(["-p", &format!("127.0.0.1:{port}:{port}")]);
        }
        let ports: Vec<String> = self.ports.iter().map(ToString::to_string).collect();
        let server = "redis-server \"$@\" --bind 0.0.0.0 --protected-mode no --dir /tmp/$port --port $port";
        let script = format!("for port in {}; do mkdir /tmp/$port; {server} & done; wait", ports.join(" "));
        command.args([&image, "-c", &script, "sh"]).args(ARGUMENTS).args(&self.arguments);
        Running { child: quietly(command), container: Some(name), _files: tempfile::tempdir().unwrap() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(name) = &self.container {
            // it may have ended already, and then it is removed without us
            let _ = Command::new("docker")
                .args(["rm", "--force", name])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
        // it may have ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn quietly(mut command: Command) -> Child {
    let program = command.get_program().to_owned();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    child.unwrap_or_else(|error| panic!("{program:?}: {error}"))
}

/// A server installed here, unless only Docker is allowed.
fn local_program() -> Option<PathBuf> {
    let only = std::env::var("SCIM_RELAY_TEST_SERVICES").unwrap_or_default();
    if only == "docker" {
        return None;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let programs = ["redis-server", "valkey-server"].into_iter();
    let found = programs.flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found = found.into_iter().find(|program| program.is_file());
    assert!(found.is_some() || only != "local", "neither redis-server nor valkey-server is in PATH");
    found
}

fn free_ports(count: usize) -> Vec<u16> {
    let mut ports = Vec::new();
    while ports.len() < count {
        let port = rand::rng().random_range(PORTS);
        let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if !ports.contains(&port) && free(port) && free(port + 10_000) {
            ports.push(port);
        }
    }
    ports
}

/// A connection without the store's ways of hiding a failure.
pub async fn connect(url: &str) -> Result<redis::aio::MultiplexedConnection, redis::RedisError> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("PING").exec_async(&mut connection).await?;
    Ok(connection)
}
