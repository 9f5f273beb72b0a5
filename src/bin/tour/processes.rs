//! The processes of the tour: each ends with the value that stands for it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

/// How long a process may take to come up.
const STARTUP: Duration = Duration::from_secs(60);
/// How long it may take to end by itself.
const SHUTDOWN: Duration = Duration::from_secs(30);
/// Between two looks.
const POLL: Duration = Duration::from_millis(100);
/// How much of a log is shown when something fails.
const LOG_LINES: usize = 15;

/// A running `scim-relay` command. It is killed when this value goes.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// The relay beside this program: `target/<profile>/scim-relay`.
fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe().context("the tour's own path")?;
    let binary = own.with_file_name("scim-relay");
    if !binary.is_file() {
        bail!("{} is missing: build it first, as `make run` does", binary.display());
    }
    Ok(binary)
}

impl Process {
    /// Starts `scim-relay ARGS…` with its output in `folder`. A process group of its own: Ctrl-C is ours to pass on.
    pub fn start(name: &'static str, folder: &Path, args: &[&str]) -> Result<Process> {
        let log = folder.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        let mut command = Command::new(binary()?);
        command.args(args).stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).process_group(0);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        Ok(Process { name, child, log })
    }

    /// Fails if it has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.failed(&format!("ended unexpectedly with {status}"))),
        }
    }

    /// Until a GET of `url` succeeds.
    pub async fn ready(&mut self, http: &reqwest::Client, url: &str) -> Result<()> {
        let deadline = Instant::now() + STARTUP;
        loop {
            self.check()?;
            if http.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(self.failed(&format!("is not ready: {url} does not answer")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether it has done its work; fails if it has failed.
    pub fn has_succeeded(&mut self) -> Result<bool> {
        match self.child.try_wait()? {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => Err(self.failed(&format!("failed with {status}"))),
        }
    }

    /// Asks it to end; fails unless it does so with success.
    pub async fn stop(mut self) -> Result<()> {
        // a shell, because some small systems have `kill` only there
        let asked =
            Command::new("sh").args(["-c", "kill -TERM \"$0\"", &self.child.id().to_string()]).status()?;
        let deadline = Instant::now() + SHUTDOWN;
        while asked.success() && Instant::now() < deadline {
            if self.has_succeeded()? {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
        Err(self.failed("does not end when asked to"))
    }

    fn failed(&self, what: &str) -> anyhow::Error {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n  ");
        anyhow!("{} {what}; the end of its log:\n  {end}", self.name)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nothing to do when it has ended already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
