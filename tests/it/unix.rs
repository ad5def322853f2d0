//! Unix sockets: a dialogue as over any other line, and what is special to them.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socketproto::prelude::*;
use socketproto::{Backoff, Error};
use tempfile::TempDir;

use crate::support::{disconnected, within};

/// Keeps a text, and counts at its peer.
#[derive(Service, Client)]
#[did(2, execute = async fn count(cx) -> u32)]
struct Board {
    #[did(1, read, write)]
    text: String,
}

impl Board {
    async fn count(cx: Call<Self>) -> Result<u32, Fault> {
        Ok(cx.peer().read::<u32>(7).await?)
    }
}

/// What the client serves to the server.
#[derive(Service)]
#[did(7, read = fn next() -> u32)]
struct Counter {
    next: Arc<AtomicU32>,
}

impl Counter {
    fn next(&mut self) -> u32 {
        self.next.fetch_add(1, Ordering::SeqCst)
    }
}

/// A directory of the test's own, and a path in it.
fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("board.sock");
    (directory, path)
}

fn secret() -> Secret {
    Secret::from_text("open sesame, and quickly").expect("a secret")
}

async fn serve(address: &str) -> Server {
    let board = Board { text: String::new() };
    Server::bind(format!("{address}?mode=0600"))
        .secret(secret())
        .service(board)
        .start()
        .await
        .expect("the path is free")
}

#[tokio::test]
async fn a_dialogue_over_a_unix_socket() {
    let (directory, path) = place();
    let address = format!("unix://{}", path.display());
    let server = serve(&address).await;
    assert_eq!(server.address(), address);
    let client = Client::connect(&address)
        .secret(secret())
        .service(Counter { next: Arc::default() })
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(2)))
        .await
        .expect("the server listens");
    assert_eq!(client.address(), address);
    let own = format!("{address}#uid={}", rustix::process::geteuid().as_raw());
    let shown = server.peers()[0].address().to_owned();
    assert!(shown.starts_with(&own), "{shown}");

    let board = BoardClient::new(&client);
    assert_eq!(within(board.count()).await.expect("an answer"), 0);
    let text = "1 MiB in bytes.:".repeat(1 << 16);
    within(board.set_text(text.clone())).await.expect("it is taken");
    assert_eq!(within(board.text()).await.expect("an answer"), text);

    // The server goes, and another one comes.
    within(server.shutdown()).await.expect("nothing is left");
    disconnected(&client).await;
    assert_eq!(fs::read_dir(directory.path()).expect("it is there").count(), 0, "a clean end leaves nothing");
    let server = serve(&address).await;
    assert_eq!(within(board.text()).await.expect("an answer"), "");
    assert_eq!(within(board.count()).await.expect("an answer"), 1);
    client.close().await;
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn a_wrong_secret_is_refused_here_too() {
    let (_directory, path) = place();
    let server = serve(&format!("unix://{}", path.display())).await;
    let wrong = Secret::from_text("open barley, and slowly").expect("a secret");
    let error = within(Client::connect(server.address()).secret(wrong)).await.expect_err("it is wrong");
    assert!(matches!(error, Error::WrongSecret { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_dropped_removes_its_file() {
    let (_directory, path) = place();
    let address = format!("unix://{}", path.display());
    drop(serve(&address).await);
    // Another one has the path as soon as this one has left it.
    let again = within(async {
        loop {
            if let Ok(server) = Server::bind(&address).start().await {
                return server;
            }
        }
    });
    let again = again.await;
    within(again.shutdown()).await.expect("nothing is left");
    assert!(!path.exists());
}

#[tokio::test]
async fn what_has_the_path_is_left_and_named() {
    let (_directory, path) = place();
    let address = format!("unix://{}", path.display());
    fs::write(&path, "precious").expect("a file");
    let error = Server::bind(&address).start().await.expect_err("a file is there");
    assert!(matches!(error, Error::Bind { .. }), "{error}");
    let expected = format!("cannot listen on {address}: `{}` is a regular file", path.display());
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
    let error = Client::connect(&address).await.expect_err("a file is there");
    assert_eq!(
        error.to_string(),
        format!(
            "cannot connect to {address}: what is at this path is no socket; write the path that the server listens on"
        )
    );
    fs::remove_file(&path).expect("it is there");

    let server = serve(&address).await;
    let error = Server::bind(&address).start().await.expect_err("a server is there");
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {address}: in use: a server listens there; end it or choose another path")
    );
    within(server.shutdown()).await.expect("nothing is left");
}

#[tokio::test]
async fn one_only_listens_on_what_is_handed_over() {
    let error = Client::connect("systemd://control").await.expect_err("it is for servers");
    assert_eq!(
        error.to_string(),
        "address `systemd://control`: systemd:// is for servers; connect to the address that the `.socket` unit \
         listens on"
    );
}
