//! The blocking twin: programs without a runtime, and what would wait for itself.

use std::sync::mpsc;
use std::time::Duration;

use socketproto::blocking::{Client, Protocol, Server};
use socketproto::{Error, Fault, Json, Message, Secret, Status};

const SECRET: &str = "a secret of more than 16 bytes";
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(socketproto::Service, socketproto::Client)]
struct Lamp {
    #[did(1, read, write)]
    on: bool,
}

fn pair() -> (Server, Client, Protocol, Protocol) {
    let server = Server::start("tcp://127.0.0.1:0").unwrap();
    let client = Client::connect(server.address()).unwrap();
    let (near, far) = (client.protocol(), server.protocol().unwrap());
    (server, client, near, far)
}

#[test]
fn two_programs_without_a_runtime_talk_both_ways() {
    let (server, client, near, far) = pair();
    server
        .register_callback(Some(10.into()), None, |message| Ok(Json::encode(&message.data_id().value())?))
        .unwrap();
    assert!(near.send(10, 7, &(), Status::OKAY, PATIENCE));
    assert_eq!(near.receive(11, 7, PATIENCE).unwrap().data::<u32>().unwrap(), 7);
    near.send_message(&Message::new(50, 1, Json::NULL), PATIENCE).unwrap();
    assert_eq!(far.receive(50, 1, PATIENCE).unwrap().service_id(), 50.into());
    assert!(far.receive(50, 1, Duration::ZERO).is_none());
    assert_eq!(client.read::<u32>(9).wait().unwrap(), 9);
    assert!(near.is_connected() && near.connection_established() && !near.check_authentication_state());
    assert!(!near.authenticate(PATIENCE), "there is no secret");
    client.close().unwrap();
    assert!(!near.send(10, 7, &(), Status::OKAY, PATIENCE));
    server.shutdown().unwrap();
    server.closed().unwrap();
}

#[test]
fn typed_clients_and_builders_are_waited_for() {
    let secret = || Secret::from_text(SECRET).unwrap();
    let server = socketproto::Server::bind("tcp://127.0.0.1:0").secret(secret()).service(Lamp { on: false });
    let server = Server::start(server).unwrap();
    let connect = socketproto::Client::connect(server.address()).secret(secret()).auto_auth(false);
    let client = Client::connect(connect).unwrap();
    assert!(client.protocol().authenticate(PATIENCE));
    let lamp = LampClient::new(&client);
    lamp.set_on(true).wait().unwrap();
    assert!(lamp.on().wait().unwrap());
    let error = Client::connect("tcp://127.0.0.1").unwrap_err();
    assert!(matches!(error, Error::Address { .. }), "{error}");
}

#[test]
fn inside_a_callback_nothing_waits_for_itself() {
    let (server, client, near, far) = pair();
    let (told, asked) = mpsc::channel();
    let (inside, peer, handle) = (far.clone(), client.protocol(), server.clone());
    server
        .register_callback(Some(10.into()), Some(1.into()), move |_| {
            told.send(inside.send(50, 1, "from inside", Status::OKAY, PATIENCE)).unwrap();
            told.send(inside.receive(50, 2, PATIENCE).is_none()).unwrap();
            told.send(!inside.authenticate(PATIENCE)).unwrap();
            let refused = inside.send_message(&Message::new(50, 3, Json::NULL), PATIENCE);
            told.send(matches!(refused, Err(Error::WouldDeadlock))).unwrap();
            told.send(matches!(peer.peer().read::<u8>(1).wait(), Err(Error::WouldDeadlock))).unwrap();
            told.send(matches!(handle.shutdown(), Err(Error::WouldDeadlock))).unwrap();
            told.send(matches!(Client::connect("mem://x"), Err(Error::WouldDeadlock))).unwrap();
            Ok(Json::NULL)
        })
        .unwrap();
    assert!(near.send(10, 1, &(), Status::OKAY, PATIENCE));
    for question in 0..7 {
        assert!(asked.recv_timeout(PATIENCE).unwrap(), "question {question}");
    }
    assert_eq!(near.receive(50, 1, PATIENCE).unwrap().data::<String>().unwrap(), "from inside");
    let error = Error::WouldDeadlock.to_string();
    assert!(error.contains("a thread of your own"), "{error}");
    // The closure holds the server.
    server.shutdown().unwrap();
}

#[test]
fn an_actix_program_is_told_instead_of_hanging() {
    actix::System::new().block_on(async {
        assert!(matches!(Server::start("mem://"), Err(Error::WouldDeadlock)));
        let server = socketproto::Server::bind("mem://").start().await.unwrap();
        let client = socketproto::Client::connect(server.address()).await.unwrap();
        assert!(matches!(client.read::<u8>(1).wait(), Err(Error::WouldDeadlock)));
    });
}

/// A method on a thread of its own may wait for its caller's connection, which is on another one.
#[derive(socketproto::Service)]
#[service(own_thread)]
#[did(1, execute = fn ask(cx) -> u32)]
struct Asker;

impl Asker {
    fn ask(&mut self, cx: socketproto::Call<Self>) -> Result<u32, Fault> {
        Ok(cx.peer().read::<u32>(5).wait()?)
    }
}

#[test]
fn a_service_with_its_own_thread_may_wait() {
    let server = Server::start(socketproto::Server::bind("tcp://127.0.0.1:0").service(Asker)).unwrap();
    let client = Client::connect(server.address()).unwrap();
    client.register_callback(Some(10.into()), Some(5.into()), |_| Ok(Json::encode(&8)?)).unwrap();
    assert_eq!(client.execute::<_, u32>(1, &()).wait().unwrap(), 8);
}
