//! `publish`: NDJSON to the broker.

use std::path::Path;

use super::{Failure, build, end, failed, load};
use crate::broker::feed::Feed;
use crate::broker::publisher::AmqpPublisher;
use crate::broker::topology::Names;
use crate::cli::Exit;

/// `publish`.
pub async fn publish(path: &Path, file: &str) -> Exit {
    end(publish_file(path, file).await)
}

async fn publish_file(path: &Path, file: &str) -> Result<Exit, Failure> {
    use std::io::IsTerminal;
    let config = load(path)?;
    let lines: Box<dyn tokio::io::AsyncRead + Unpin + Send> = match file {
        "-" => Box::new(tokio::io::stdin()),
        file => Box::new(
            tokio::fs::File::open(file)
                .await
                .map_err(|error| (format!("{file} can't be read: {error}"), Exit::Usage))?,
        ),
    };
    let publisher = AmqpPublisher::new(build::broker_options(&config)?).connected().await.map_err(failed)?;
    let feed = Feed {
        exchange: config.amqp.exchange.clone(),
        intake: Names::new(&config.target.name).of("intake"),
        max_line: config.amqp.max_event_bytes,
    };
    let terminal = std::io::stderr().is_terminal();
    let progress = |done: u64| {
        if terminal {
            eprint!("\r{done} confirmed");
        }
    };
    let published = feed.run(&publisher, tokio::io::BufReader::new(lines), progress).await.map_err(failed)?;
    if terminal {
        eprintln!();
    }
    for (line, why) in &published.failed {
        eprintln!("line {line}: {why}");
    }
    println!("{} published, {} failed", published.confirmed, published.failed.len());
    Ok(if published.failed.is_empty() { Exit::Done } else { Exit::Differences })
}
