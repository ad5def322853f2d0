//! D25: listeners that a service manager hands over.

use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};

use socketproto::Server;

use crate::support::{Echo, Wire, example, probe, start};
use crate::web::Web;

/// The `echo` example as a service manager starts it: `passed` as descriptor 3, whatever the script says before.
fn launch(script: &str, passed: impl Into<OwnedFd>, listen: &str) -> Command {
    let script =
        format!(r#"exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; {script}; exec "$0" "$@""#);
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(example("echo")).args(["--listen", listen]);
    command.stdin(Stdio::from(passed.into()));
    command
}

/// A Unix socket that a manager holds, and its address.
fn unix_listener(directory: &tempfile::TempDir) -> (UnixListener, String) {
    let path = directory.path().join("x.sock");
    (UnixListener::bind(&path).unwrap(), format!("unix://{}", path.display()))
}

/// The program serves there, and ends as told.
fn serves(command: Command, address: &str) {
    let echo = Echo::spawn(command, "warn");
    assert_eq!(echo.address, address);
    let mut client = echo.connect(Wire::Stp);
    client.probe();
    probe(address);
    echo.end();
}

#[test]
fn d_25_systemd_socket_activation() {
    let directory = tempfile::tempdir().unwrap();
    let (unix, unix_address) = unix_listener(&directory);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp_address = format!("tcp://{}", tcp.local_addr().unwrap());
    // The manager keeps its descriptor, and starts the program again and again.
    for _ in 0..2 {
        for (script, listen) in [
            ("true", "systemd://"),
            ("true", "systemd://0?format=struct"),
            ("unset LISTEN_PID", "systemd://0"),
            ("export LISTEN_FDNAMES=control", "systemd://control"),
            ("exec 4<&3 3</dev/null; export LISTEN_FDS=2 LISTEN_FDNAMES=log:control", "systemd://1"),
            ("exec 4<&3 3</dev/null; export LISTEN_FDS=2 LISTEN_FDNAMES=log:control", "systemd://control"),
        ] {
            serves(launch(script, unix.try_clone().unwrap(), listen), &unix_address);
            assert!(directory.path().join("x.sock").exists(), "it is not removed");
            serves(launch(script, tcp.try_clone().unwrap(), listen), &tcp_address);
        }
    }
    // It listens still: who comes while nothing runs waits for the next start.
    let mut waiting = UnixStream::connect(directory.path().join("x.sock")).unwrap();
    unix.accept().unwrap();
    assert_eq!(waiting.read(&mut [0]).unwrap(), 0);
}

#[test]
fn d_25_what_was_handed_over_takes_websockets_where_it_is_told_to() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = launch("true", tcp, "systemd://");
    command.arg("--websocket");
    let echo = Echo::spawn(command, "warn");
    Web::connect(&echo.address).probe();
    echo.connect(Wire::Stp).probe();
    echo.end();
}

#[test]
fn d_25_what_is_passed_wrongly_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (unix, _) = unix_listener(&directory);
    let (connected, _other) = UnixStream::pair().unwrap();
    let not_listening = OwnedFd::from(connected);
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    let listener = || OwnedFd::from(unix.try_clone().unwrap());
    for (script, passed, listen, expected) in [
        ("unset LISTEN_FDS", listener(), "systemd://", "LISTEN_FDS is not set"),
        ("LISTEN_FDS=0", listener(), "systemd://", "LISTEN_FDS is `0`, expected a number from 1 to 4096"),
        ("LISTEN_FDS=2147483647", listener(), "systemd://", "expected a number from 1 to 4096"),
        ("LISTEN_PID=1", listener(), "systemd://", "the descriptors are for the process 1 (LISTEN_PID)"),
        ("true", listener(), "systemd://1", "1 descriptors were passed, so the last is systemd://0"),
        ("true", listener(), "systemd://control", "no descriptor with the name `control` was passed"),
        ("LISTEN_FDS=2", listener(), "systemd://1", "descriptor 4 (systemd://1) is no stream socket"),
        ("true", null.into(), "systemd://", "descriptor 3 (systemd://0) is no stream socket"),
        ("true", datagrams.into(), "systemd://", "descriptor 3 (systemd://0) is no stream socket"),
        ("true", not_listening, "systemd://", "descriptor 3 (systemd://0) does not listen"),
    ] {
        let output = launch(script, passed, listen).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("cannot listen on systemd://") && said.contains(expected), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn d_25_a_listener_is_handed_over_by_the_program_itself() {
    let directory = tempfile::tempdir().unwrap();
    let (unix, address) = unix_listener(&directory);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let read = Some(socketproto::ServiceId::READ_REQUEST);
    for builder in [Server::from_listener(unix.try_clone().unwrap()), Server::from_listener(tcp)] {
        let server = start(builder.register_callback(read, None, |message| Ok(message.json().clone())));
        probe(server.address());
        crate::support::block_on(server.shutdown()).unwrap();
    }
    assert!(directory.path().join("x.sock").exists());
    let server = start(Server::from_listener(unix));
    assert_eq!(server.address(), address);
}
