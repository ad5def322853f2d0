//! Serial lines, over pseudo terminals: a whole dialogue, a line that echoes, programs.

use socketproto::prelude::*;
use socketproto::{Error, Peer};

use crate::cable::{Cable, Tty};
use crate::support::{Program, example, run, within};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn secret() -> Secret {
    Secret::from_text(SECRET).expect("a secret")
}

/// A thing with a value of any size.
#[derive(Service, Client)]
#[did(2, execute = async fn doubled(cx, number: u32) -> u32)]
struct Shelf {
    #[did(1, read, write)]
    text: String,
}

impl Shelf {
    /// Asks the peer to double the number.
    async fn doubled(cx: Call<Self>, number: u32) -> Result<u32, Error> {
        cx.peer().execute(7, &number).await
    }
}

fn shelf() -> Shelf {
    Shelf { text: String::new() }
}

/// What a client serves.
#[derive(Service)]
#[did(7, execute = fn double(number: u32) -> u32)]
struct Doubler;

impl Doubler {
    fn double(&mut self, number: u32) -> u32 {
        2 * number
    }
}

#[tokio::test]
async fn a_dialogue_over_a_serial_line_goes_both_ways_and_leaves_nothing_behind() {
    let (left, right) = (Tty::new(), Tty::new());
    let cable = Cable::new(&left, &right);
    let server = Server::bind(right.url()).secret(secret()).channel_name("bench").service(shelf());
    let server = within(server.start()).await.unwrap();
    assert_eq!(server.address(), right.url());
    let client = within(Client::connect(left.url()).secret(secret()).service(Doubler)).await.unwrap();
    let thing = ShelfClient::new(&client);
    let text = "a megabyte: ".repeat((1 << 20) / 12);
    within(thing.set_text(text.clone())).await.unwrap();
    assert_eq!(within(thing.text()).await.unwrap(), text);
    assert_eq!(within(thing.doubled(21)).await.unwrap(), 42);
    let peers: Vec<Peer> = server.peers();
    assert_eq!(peers.len(), 1);
    assert_eq!(within(peers[0].execute::<_, u32>(7, &4)).await.unwrap(), 8);
    within(client.close()).await;
    // The line has no end, and the next client finds the server on it.
    let client = within(Client::connect(left.url()).secret(secret())).await.unwrap();
    assert_eq!(within(ShelfClient::new(&client).text()).await.unwrap(), text);
    within(client.close()).await;
    within(server.shutdown()).await.unwrap();
    drop(cable);
    // Both ports are free again.
    drop(within(Server::bind(right.url()).start()).await.unwrap());
    drop(within(Server::bind(left.url()).start()).await.unwrap());
}

#[tokio::test]
async fn a_wrong_secret_is_told_on_a_serial_line_too() {
    let (left, right) = (Tty::new(), Tty::new());
    let _cable = Cable::new(&left, &right);
    let server = within(Server::bind(right.url()).secret(secret()).start()).await.unwrap();
    let other = Secret::from_text("another secret of 16 bytes").unwrap();
    let refused = within(Client::connect(left.url()).secret(other)).await.unwrap_err();
    assert!(matches!(refused, Error::WrongSecret { .. }), "{refused}");
    within(server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn an_old_client_is_served_on_a_serial_line() {
    let (left, right) = (Tty::new(), Tty::new());
    let _cable = Cable::new(&left, &right);
    let server = Server::bind(right.url()).secret(secret()).accept_legacy(true).service(shelf());
    let server = within(server.start()).await.unwrap();
    let old = Client::connect(format!("{}&peer=old", left.url())).secret(secret()).ignore_sentinel(true);
    let client = within(old).await.unwrap();
    let thing = ShelfClient::new(&client);
    within(thing.set_text("old".to_owned())).await.unwrap();
    assert_eq!(within(thing.text()).await.unwrap(), "old");
    within(client.close()).await;
    within(server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn a_line_that_echoes_is_told_and_works_with_the_option() {
    let (left, right) = (Tty::new(), Tty::new());
    let _cable = Cable::with(&left, &right, true, || Box::new(|bytes| bytes));
    let with_echo = |tty: &Tty| format!("{}&echo=on", tty.url());
    for client in [Client::connect(left.url()), Client::connect(left.url()).secret(secret())] {
        let refused = within(client).await.unwrap_err().to_string();
        assert!(refused.contains("echo=on"), "{refused}");
    }
    let server =
        within(Server::bind(with_echo(&right)).secret(secret()).service(shelf()).start()).await.unwrap();
    let client = within(Client::connect(with_echo(&left)).secret(secret()).service(Doubler)).await.unwrap();
    let thing = ShelfClient::new(&client);
    for number in 0..50 {
        let text = format!(":<{number}:>");
        within(thing.set_text(text.clone())).await.unwrap();
        assert_eq!(within(thing.text()).await.unwrap(), text);
        assert_eq!(within(thing.doubled(number)).await.unwrap(), 2 * number);
    }
    within(client.close()).await;
    within(server.shutdown()).await.unwrap();
}

#[tokio::test]
async fn the_example_programs_speak_over_a_serial_line() {
    let (left, right) = (Tty::new(), Tty::new());
    let _cable = Cable::new(&left, &right);
    let mut command = example("thermostat");
    command.args(["--listen", &right.url(), "--secret", SECRET]);
    let server = Program::start(command).await;
    assert_eq!(server.url, right.url());
    let mut command = example("client");
    command.args([&left.url(), "--secret", SECRET, "--setpoint", "22.5"]);
    let ended = run(command).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut command = example("client");
    command.args([&left.url(), "--secret", SECRET]);
    let ended = run(command).await;
    assert!(ended.stdout.ends_with("setpoint 22.5 °C\n"), "{} {}", ended.stdout, ended.stderr);
    server.signal("TERM").await;
    assert_eq!(server.end().await.code, Some(0));
}
