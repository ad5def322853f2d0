//! CPU time of one echoed request, against a raw loop that parses and serialises the same frames.
//!
//! One connection over loopback TCP, 64 requests in flight, rounds of both in turn; prints nanoseconds of the server's
//! thread and the median of the ratios taken round by round. `cargo bench --bench echo`; Linux only, for it reads the
//! scheduler's account of each thread.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use socketproto::{Client, Server, ServiceId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const IN_FLIGHT: usize = 64;
const BATCHES: usize = 4_000;
const ROUNDS: usize = 9;

fn main() {
    let raw = start_raw();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = runtime.block_on(start_server());
    let ours = server.address().trim_start_matches("tcp://").to_owned();
    let mut lines = [("raw loop", raw, "raw-loop"), ("socketproto", ours, "socketproto")].map(
        |(name, address, thread)| {
            let stream = TcpStream::connect(&address).expect("the server listens");
            stream.set_nodelay(true).expect("a TCP option");
            (name, stream, thread, Vec::new())
        },
    );
    let batch = batch();
    for round in 0..=ROUNDS {
        for (_, stream, thread, figures) in &mut lines {
            let before = cpu(thread);
            drive(stream, &batch);
            let each = (cpu(thread) - before) as f64 / (BATCHES * IN_FLIGHT) as f64;
            if round > 0 {
                figures.push(each);
            }
        }
    }
    let [(_, _, _, raw), (_, _, _, ours)] = &lines;
    let ratios: Vec<_> = ours.iter().zip(raw).map(|(ours, raw)| ours / raw).collect();
    println!(
        "CPU of the server's thread per request, {IN_FLIGHT} in flight on one connection, {ROUNDS} rounds:"
    );
    for (name, _, _, figures) in &lines {
        println!("{name:12} {}", spread(figures, "ns"));
    }
    println!("ratio        {}", spread(&ratios, ""));
    runtime.block_on(calls(&server));
}

/// The same through the client's calls: both ends, on the threads that a program has.
async fn calls(server: &Server) {
    let client = Client::connect(server.address()).await.expect("a connection");
    let mut figures = Vec::new();
    for round in 0..=ROUNDS {
        let before = process_cpu();
        let mut tasks = Vec::new();
        for _ in 0..IN_FLIGHT {
            let client = client.clone();
            tasks.push(tokio::spawn(async move {
                for number in 0..BATCHES / 4 {
                    let echoed: Reading = client
                        .execute(7, &Reading { channel: 3, value: number as f64 })
                        .await
                        .expect("an answer");
                    assert_eq!(echoed.channel, 3);
                }
            }));
        }
        for task in tasks {
            task.await.expect("no panic");
        }
        if round > 0 {
            figures.push((process_cpu() - before) as f64 / (BATCHES / 4 * IN_FLIGHT) as f64);
        }
    }
    println!("client calls and server together: {}", spread(&figures, "ns"));
}

#[derive(Deserialize, Serialize)]
struct Reading {
    channel: u32,
    value: f64,
}

async fn start_server() -> Server {
    Server::bind("tcp://127.0.0.1:0")
        .register_callback(Some(ServiceId::EXECUTE_REQUEST), None, |message| Ok(message.json().clone()))
        .start()
        .await
        .expect("a free port")
}

#[derive(Deserialize, Serialize)]
struct Envelope<'a> {
    data_id: u32,
    service_id: u32,
    status: u32,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<u64>,
}

/// Frames of one batch of requests.
fn batch() -> Vec<u8> {
    let mut batch = Vec::new();
    for number in 1..=IN_FLIGHT {
        let data = format!(r#"{{"channel":3,"value":{number}.25}}"#);
        let data = serde_json::from_str::<&RawValue>(&data).expect("JSON");
        let message_id = Some(number as u64);
        put(&mut batch, &Envelope { data_id: 7, service_id: 30, status: 0, data, message_id });
    }
    batch
}

fn put(out: &mut Vec<u8>, envelope: &Envelope<'_>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    serde_json::to_writer(&mut *out, envelope).expect("JSON");
    let checksum = crc32fast::hash(&out[start + 4..]);
    out.extend_from_slice(&checksum.to_be_bytes());
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Sends batch after batch, each when the answers to the one before are there.
fn drive(stream: &mut TcpStream, batch: &[u8]) {
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..BATCHES {
        stream.write_all(batch).expect("the server reads");
        let (mut filled, mut answers) = (0, 0);
        while answers < IN_FLIGHT {
            filled += stream.read(&mut buffer[filled..]).expect("the server answers");
            let mut at = 0;
            while let Some(next) = frame_end(&buffer[at..filled]) {
                at += next;
                answers += 1;
            }
            buffer.copy_within(at..filled, 0);
            filled -= at;
        }
    }
}

fn frame_end(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    (bytes.len() >= 4 + length).then_some(4 + length)
}

/// The least a server of these frames does: all whole frames of a read, one write.
fn start_raw() -> String {
    let (sender, address) = std::sync::mpsc::channel();
    let server = async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        sender.send(listener.local_addr().expect("an address").to_string()).expect("the bench waits");
        let (mut stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a TCP option");
        let (mut buffer, mut filled, mut out) = (vec![0; 64 * 1024], 0, Vec::new());
        loop {
            match stream.read(&mut buffer[filled..]).await {
                Ok(read) if read > 0 => filled += read,
                _ => return,
            }
            let mut at = 0;
            while let Some(next) = frame_end(&buffer[at..filled]) {
                let (text, checksum) = buffer[at + 4..at + next].split_at(next - 8);
                assert_eq!(crc32fast::hash(text).to_be_bytes(), checksum);
                let request: Envelope<'_> = serde_json::from_slice(text).expect("JSON");
                put(&mut out, &Envelope { service_id: request.service_id + 1, ..request });
                at += next;
            }
            buffer.copy_within(at..filled, 0);
            filled -= at;
            if stream.write_all(&out).await.is_err() {
                return;
            }
            out.clear();
        }
    };
    thread::Builder::new()
        .name("raw-loop".to_owned())
        .spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(server);
        })
        .expect("a thread");
    address.recv().expect("an address")
}

/// CPU time of the thread of this name, in nanoseconds.
fn cpu(name: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    tasks
        .filter_map(|task| Some(task.ok()?.path()))
        .filter(|task| fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name))
        .map(|task| schedstat(&task))
        .sum()
}

/// CPU time of all threads, in nanoseconds.
fn process_cpu() -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    tasks.filter_map(|task| Some(schedstat(&task.ok()?.path()))).sum()
}

fn schedstat(task: &std::path::Path) -> u64 {
    let account = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    account.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

fn spread(figures: &[f64], unit: &str) -> String {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |part: usize| sorted[(sorted.len() - 1) * part / 2];
    format!("median {:.2} {unit} (from {:.2} to {:.2})", at(1), at(0), at(2))
}
