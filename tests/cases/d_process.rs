//! D: programs that are started, told to end and killed, and what they write meanwhile.

use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use socketproto::prelude::*;
use socketproto::{Backoff, Error, Message, ServerBuilder};

use crate::program::{Program, log, part};
use crate::support::{
    Echo, OWN_ADDRESS, PATIENCE, Raw, WIRES, Wire, block_on, example, m, nobody, probe, start_again,
};

fn server(address: &str) -> ServerBuilder {
    let echo = |message: &Message| Ok(message.json().clone());
    Server::bind(address).register_callback(Some(ServiceId::READ_REQUEST), None, echo)
}

// D18

#[test]
fn d_18_quick_restart_after_a_kill() {
    let mut echo = Echo::with(&["--listen", OWN_ADDRESS], "warn");
    let address = echo.address.clone();
    for wire in WIRES {
        let mut peer = echo.connect(wire);
        peer.probe();
        kill_process(echo.process(), Signal::KILL).unwrap();
        drop(echo);
        echo = Echo::with(&["--listen", &address], "warn");
        probe(&address);
    }
    // A second instance says at once which address is taken, and by what it can be told.
    let begun = Instant::now();
    let second = Command::new(example("echo")).args(["--listen", &address]).output().unwrap();
    assert!(begun.elapsed() < PATIENCE);
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.starts_with(&format!("cannot listen on {address}: ")) && said.contains("in use"), "{said}");
    assert_eq!(second.status.code(), Some(1));
    echo.end();
}

const D_18: &str = "d_process::d_18_closing_frees_the_port_before_it_returns";

/// Opens and closes on one port.
fn close_and_open() -> ! {
    let mut address = OWN_ADDRESS.to_owned();
    block_on(async {
        for _ in 0..100 {
            let server = server(&address).start().await.unwrap();
            address = server.address().to_owned();
            let error = self::server(&address).start().await.unwrap_err();
            assert!(matches!(error, Error::Bind { .. }) && error.to_string().contains(&address), "{error}");
            let client = Client::connect(&address).await.unwrap();
            client.read::<()>(4711).await.unwrap();
            server.shutdown().await.unwrap();
        }
    });
    println!("all is well");
    std::process::exit(0)
}

/// Alone in its process: while other tests start programs, copies of the process hold its ports for a moment.
#[test]
fn d_18_closing_frees_the_port_before_it_returns() {
    if part().is_some() {
        close_and_open();
    }
    let mut program = Program::start(D_18, "ports", "error");
    program.told("all is well");
    assert!(program.end().status.success());
}

// D24

/// Takes its time: as an async method until it is told, and as a sync one that holds up its thread for good.
#[derive(Service)]
#[did(1, execute = async fn slow() -> u32)]
#[did(2, execute = async fn endless())]
#[did(3, execute = fn hang())]
struct Slow;

impl Slow {
    async fn slow() -> u32 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        1
    }

    async fn endless() {
        println!("begun");
        std::future::pending::<()>().await;
    }

    fn hang(&mut self) {
        println!("begun");
        loop {
            thread::park();
        }
    }
}

/// Serves until a signal comes.
fn serve() -> ! {
    log();
    block_on(async {
        let server = server("tcp://127.0.0.1:0").service(Slow).start().await.unwrap();
        println!("listening on {}", server.address());
        server.run_until_signal().await.unwrap();
    });
    std::process::exit(0)
}

const D_24_SERVER: &str = "d_process::d_24_a_server_ends_well_at_ctrl_c_and_sigterm";

fn slow_server() -> (Program, String) {
    let mut program = Program::start(D_24_SERVER, "serve", "info");
    let address = program.told("listening on ");
    program.wait_for_signal_handler();
    (program, address)
}

#[test]
fn d_24_a_server_ends_well_at_ctrl_c_and_sigterm() {
    if part().is_some() {
        serve();
    }
    for signal in [Signal::INT, Signal::TERM] {
        let (program, address) = slow_server();
        let mut idle = Raw::connect(&address, Wire::Length);
        idle.probe();
        let mut half = Raw::connect(&address, Wire::Length);
        half.probe();
        let frame = Wire::Length.frame(m(0, 10, 1, "null"));
        half.send(&frame[..frame.len() / 2]);
        let mut served = Raw::connect(&address, Wire::Stp);
        served.probe();
        served.send_text(m(0, 30, 1, "null"));
        served.send_text(m(0, 10, 1, "null"));
        assert_eq!(served.answer(), "11/1: null", "the one before it is being served");
        let ended = program.end_by(signal);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert_eq!(served.receive_clean().unwrap().show(), "31/1: 1", "what runs has its time");
        for mut peer in [idle, half, served] {
            assert!(peer.receive_clean().is_none(), "a clean end");
        }
    }
}

#[test]
fn d_24_what_never_ends_has_5_s_and_a_second_signal_ends_it_at_once() {
    let (mut program, address) = slow_server();
    let mut peer = Raw::connect(&address, Wire::Length);
    peer.send_text(m(0, 30, 2, "null"));
    program.told("begun");
    let ended = program.end_by(Signal::TERM);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(peer.receive_clean().is_none());
    assert!(ended.after >= Duration::from_secs(4), "{:?}", ended.after);

    for (second, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (mut program, address) = slow_server();
        let mut peer = Raw::connect(&address, Wire::Length);
        peer.send_text(m(0, 30, 2, "null"));
        program.told("begun");
        program.signal(Signal::INT);
        program.logged("a signal asks for the end");
        let ended = program.end_by(second);
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    }
}

#[test]
fn d_24_a_program_that_hangs_is_ended_by_the_second_signal() {
    let (mut program, address) = slow_server();
    let mut peer = Raw::connect(&address, Wire::Length);
    peer.send_text(m(0, 30, 3, "null"));
    program.told("begun");
    program.signal(Signal::INT);
    program.logged("a signal asks for the end");
    let ended = program.end_by(Signal::INT);
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
}

// D24, D26 and D03: a client whose server is away

const D_26: &str = "d_process::d_26_log_flood_while_the_peer_is_away";

/// Looks for a server until a signal comes.
fn look_for(address: &str) -> ! {
    log();
    block_on(async {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(50));
        let client = Client::connect(address).lazy().backoff(backoff).await.unwrap();
        let ctrl_c = tokio::spawn(tokio::signal::ctrl_c());
        tokio::task::yield_now().await;
        println!("looks for it");
        ctrl_c.await.unwrap().unwrap();
        client.close().await;
    });
    std::process::exit(0)
}

#[test]
fn d_24_a_client_in_back_off_ends_at_ctrl_c() {
    let (_held, address) = nobody();
    let mut program = Program::start(D_26, &address, "info");
    program.told("looks for it");
    program.logged("cannot connect");
    let ended = program.end_by(Signal::INT);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[test]
fn d_26_log_flood_while_the_peer_is_away() {
    /// A share of a core: 5 %.
    const SHARE: u32 = 20;
    const WINDOW: Duration = Duration::from_secs(2);

    if let Some(address) = part() {
        look_for(&address);
    }
    let (_held, address) = nobody();
    let mut program = Program::start(D_26, &address, "info");
    program.told("looks for it");
    for round in 0..2 {
        // 25 ms between two attempts on the average: some 80 in this time.
        let before = program.usage().cpu;
        thread::sleep(WINDOW);
        let used = program.usage().cpu - before;
        assert!(used < WINDOW / SHARE, "{used:?} of processor time in {WINDOW:?}");
        let (came, comes) = mpsc::channel();
        let opened = || {
            let came = came.clone();
            server(&address).on_event(move |_, event| {
                let _ = came.send(format!("{event:?}"));
            })
        };
        let server = block_on(start_again(opened));
        for event in ["Connected", "Ready"] {
            assert_eq!(comes.recv_timeout(PATIENCE).unwrap(), event);
        }
        block_on(server.peers()[0].call::<_, ()>(ServiceId::READ_REQUEST, 1, &()).into_future()).unwrap_err();
        if round == 0 {
            block_on(server.shutdown()).unwrap();
        } else {
            // It lives on while the client ends.
            let ended = program.end_by(Signal::INT);
            assert_eq!(ended.status.code(), Some(0), "{ended:?}");
            check_log(&ended.log);
            return;
        }
    }
}

fn check_log(log: &str) {
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    let attempts: Vec<u32> = log
        .lines()
        .filter_map(|line| line.split_once(" connected failed_attempts="))
        .map(|(_, number)| number.trim().parse().unwrap())
        .collect();
    assert!(attempts.len() == 2 && attempts.iter().all(|number| *number >= 20), "{attempts:?}\n{log}");
    // At each power of two, for each of the two times.
    let bound = attempts.iter().map(|number| number.ilog2() as usize + 1).sum::<usize>();
    assert_eq!(count("cannot connect"), bound, "{log}");
    assert_eq!(count("disconnected"), 2, "when the server ended, and when the client did:\n{log}");
    assert!(log.lines().count() <= bound + 6, "{log}");
}

// D27

#[test]
fn d_27_no_time_out_depends_on_a_clock_that_jumps() {
    let source = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../socketproto/src");
    let mut folders = vec![source];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(!text.contains("SystemTime") && !text.contains("chrono"), "{}", path.display());
                files += 1;
            }
        }
    }
    assert!(files > 40);
}
