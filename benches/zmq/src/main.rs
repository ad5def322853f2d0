//! `ZeroMQ`: JSON between DEALER and ROUTER sockets, with one thread of the program and one I/O thread on each side.
//!
//! A socket answers in order, so a JSON string is asked to be echoed, an object is a request, and nothing has an id.
//! The client keeps its requests outstanding without any call that could be awaited.

mod asker;
mod one_by_one;

use std::{process, thread};

use anyhow::{Context as _, Result};
use bench_common::{
    Command, Load, Reply, Request, Serve, Shape, Window, command, drive, run, serve_until_stdin_ends,
};
use zmq::{Context, Message, SNDMORE, Socket, SocketType};

use crate::one_by_one::Contexts;

fn main() -> Result<()> {
    match command() {
        Command::Serve(serve) => run(serve.runtime, answer(&serve)),
        Command::Load(load) => run(load.runtime, ask(&load)),
    }
}

async fn answer(serve: &Serve) -> Result<()> {
    let router = socket(&Context::new(), zmq::ROUTER)?;
    router.bind(serve.at.as_deref().unwrap_or("tcp://127.0.0.1:*"))?;
    let endpoint = router.get_last_endpoint()?.ok().context("the endpoint is not text")?;
    thread::spawn(move || {
        if let Err(error) = respond(&router) {
            eprintln!("bench-zmq: {error:#}");
            process::exit(1);
        }
    });
    serve_until_stdin_ends(&endpoint).await
}

fn respond(router: &Socket) -> Result<()> {
    let (mut peer, mut request, mut reply) = (Message::new(), Message::new(), Vec::new());
    loop {
        router.recv(&mut peer, 0)?;
        router.recv(&mut request, 0)?;
        reply.clear();
        if request.starts_with(b"\"") {
            serde_json::to_writer(&mut reply, &serde_json::from_slice::<String>(&request)?)?;
        } else {
            serde_json::to_writer(&mut reply, &Reply::to(&serde_json::from_slice::<Request>(&request)?))?;
        }
        router.send(&peer[..], SNDMORE)?;
        router.send(&reply[..], 0)?;
    }
}

async fn ask(load: &Load) -> Result<()> {
    if load.shape == Shape::S5 {
        let contexts = Contexts::default();
        return drive(load, async || contexts.connect(&load.to)).await;
    }
    let window = Window::new(load);
    let (counter, load) = (window.counter(), load.clone());
    thread::spawn(move || {
        if let Err(error) = asker::ask(&load, &counter) {
            counter.window().fail(error);
        }
    });
    window.measure().await
}

/// A socket that holds nothing back, and nothing up when the program ends.
fn socket(context: &Context, kind: SocketType) -> Result<Socket> {
    let socket = context.socket(kind)?;
    socket.set_sndhwm(0)?;
    socket.set_rcvhwm(0)?;
    socket.set_linger(0)?;
    Ok(socket)
}

fn connect(context: &Context, endpoint: &str) -> Result<Socket> {
    let dealer = socket(context, zmq::DEALER)?;
    dealer.connect(endpoint)?;
    Ok(dealer)
}
