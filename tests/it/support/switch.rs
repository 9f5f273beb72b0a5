//! An address behind which another server can step in, as when a name or a virtual address moves on after a failover.
//! Connections that are there stay where they are.

use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The address; it ends with this value.
pub struct Switch {
    port: u16,
    server: Arc<Mutex<u16>>,
    _tasks: JoinSet<()>,
}

impl Switch {
    /// Leads to the server at this port.
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(Mutex::new(server));
        let (mut tasks, current) = (JoinSet::new(), server.clone());
        tasks.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let port = *current.lock().unwrap();
                lines.spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    // either side may end it at any time
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { port, server, _tasks: tasks }
    }

    /// Leads new connections there.
    pub fn turn_to(&self, server: u16) {
        *self.server.lock().unwrap() = server;
    }

    /// The address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }
}
