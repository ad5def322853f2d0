//! Blocking sockets, and a thread for each connection.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bench_common::{Counter, Load, PAUSE, Shape};

use crate::answer::answer;
use crate::asker::Asker;
use crate::framing::Length;
use crate::inbox::Inbox;

/// Serves, and tells where.
pub fn serve(at: &str) -> Result<String> {
    let listener = TcpListener::bind(place(at)).context(at.to_owned())?;
    let address = format!("tcp://{}", listener.local_addr()?);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(|| converse(stream));
        }
    });
    Ok(address)
}

fn converse(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut inbox, mut out) = (Inbox::<Length>::new(), Vec::new());
    loop {
        let read = stream.read(inbox.free())?;
        if read == 0 {
            return Ok(());
        }
        inbox.take(read, |frame| answer(frame, &mut Length, &mut out))?;
        stream.write_all(&out)?;
        out.clear();
    }
}

/// Asks from a thread of its own.
pub fn spawn(load: &Load, counter: Counter) -> Result<()> {
    let one = load.shape != Shape::S4 || load.outstanding == 1;
    ensure!(one, "two blocking sides with many large requests would wait for each other");
    let stream = TcpStream::connect(place(&load.to)).context(load.to.clone())?;
    stream.set_nodelay(true)?;
    let mut asker = Asker::new(load, false, counter);
    let (shape, outstanding) = (load.shape, load.outstanding as u64);
    thread::spawn(move || {
        if let Err(error) = ask(stream, &mut asker, shape, outstanding) {
            asker.fail(error);
        }
    });
    Ok(())
}

fn ask(mut stream: TcpStream, asker: &mut Asker<Length>, shape: Shape, outstanding: u64) -> Result<()> {
    let (mut inbox, mut out) = (Inbox::<Length>::new(), Vec::new());
    while !asker.is_over() {
        asker.put(outstanding - asker.outstanding(), Instant::now(), &mut out)?;
        stream.write_all(&out)?;
        out.clear();
        loop {
            let read = stream.read(inbox.free())?;
            ensure!(read > 0, "the server has closed the connection");
            let now = Instant::now();
            inbox.take(read, |frame| asker.take(frame, now))?;
            asker.count();
            let is_whole = asker.outstanding() < outstanding;
            if is_whole && (shape != Shape::S6 || asker.outstanding() == 0) {
                break;
            }
        }
        if shape == Shape::S6 {
            thread::sleep(PAUSE);
        }
    }
    Ok(())
}

fn place(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, place)| place)
}
