//! S: ports that are missing, busy, forbidden, or come and go.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_setfl};
use socketproto::prelude::*;
use socketproto::{Backoff, ConnectionEvent, Error};
use tempfile::TempDir;

use crate::cable::{Cable, Tty, url};
use crate::s_wire::{RawPort, echo_server};
use crate::support::{Echo, PATIENCE, block_on, example, m, start};

/// A folder for links to ports, which goes with the test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Programs of other users look into it as well.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Lets a name lead to a port, as udev does for adapters.
    fn link(&self, name: &str, tty: &Tty) {
        let path = self.path(name);
        let _ = fs::remove_file(&path);
        symlink(&tty.path, path).unwrap();
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

// S03

#[test]
fn s_03_two_processes_on_one_port() {
    let tty = Tty::new();
    let mut echo = Echo::with(&["--listen", &tty.url()], "warn");
    let mut port = RawPort::new(&tty);
    port.probe();
    let bound = block_on(echo_server(tty.url()).start()).unwrap_err().to_string();
    assert_eq!(
        bound,
        format!(
            "cannot listen on {}: the port is busy: another program, or this one, has opened it",
            tty.url()
        )
    );
    let connected = block_on(Client::connect(tty.url()).into_future()).unwrap_err().to_string();
    assert!(connected.contains("the port is busy"), "{connected}");
    // A program that takes some of the bytes all the same, as root can.
    if let Ok(foreign) = fs::File::open(&tty.path) {
        fcntl_setfl(&foreign, OFlags::NONBLOCK).unwrap();
        for _ in 0..50 {
            port.send_text(m(0, 10, 5, "1"));
            let _ = (&foreign).read(&mut [0; 64]);
            while port.poll().is_some() {}
        }
        drop(foreign);
        while port.poll().is_some() {}
    }
    tty.write(b"::");
    port.probe();
    echo.end_unasked();
}

#[test]
fn s_03_a_port_is_free_again_when_it_is_closed() {
    let tty = Tty::new();
    for _ in 0..3 {
        let server = start(echo_server(tty.url()));
        RawPort::new(&tty).probe();
        block_on(server.shutdown()).unwrap();
    }
}

// S04

#[test]
fn s_04_adapter_unplugged_and_plugged_again_at_a_server() {
    let folder = Folder::new();
    let first = Tty::new();
    folder.link("by-id", &first);
    let mut echo = Echo::with(&["--listen", &url(&folder.path("by-id"))], "warn");
    RawPort::new(&first).probe();
    let before = echo.usage();
    drop(first);
    echo.is_idle();
    let second = Tty::new();
    folder.link("by-id", &second);
    let mut port = RawPort::new(&second);
    // It looks at the latest after two seconds, and says so.
    assert_eq!(port.receive().service_id, ServiceId::HELLO_REQUEST.value());
    port.probe();
    assert!(echo.usage().descriptors <= before.descriptors, "the old handle is kept");
    let log = echo.end_unasked();
    assert_eq!(log.matches("cannot open the port").count(), 1, "{log}");
}

#[test]
fn s_04_adapter_unplugged_and_plugged_again_at_a_client() {
    let folder = Folder::new();
    let (first, far) = (Tty::new(), Tty::new());
    folder.link("by-id", &first);
    let secret = || Secret::from_text("0123456789abcdef0123456789abcdef").unwrap();
    let server = start(echo_server(far.url()).secret(secret()));
    let cable = Cable::new(&first, &far);
    let events = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&events);
    let client = block_on(
        Client::connect(url(&folder.path("by-id")))
            .secret(secret())
            .backoff(Backoff::new(Duration::from_millis(10), Duration::from_millis(200)))
            .on_event(move |_, event| {
                let event = match event {
                    ConnectionEvent::Disconnected { reason } => reason.to_string(),
                    other => format!("{other:?}"),
                };
                list.lock().unwrap().push(event);
            })
            .into_future(),
    )
    .unwrap();
    assert_eq!(block_on(client.call::<_, u32>(10, 1, &1).into_future()).unwrap(), 1);
    drop(cable);
    drop(first);
    wait_until("the client has lost its line", || !client.is_connected());
    let waiting = client.call::<_, u32>(10, 1, &2).timeout(PATIENCE);
    let second = Tty::new();
    let _cable = Cable::new(&second, &far);
    folder.link("by-id", &second);
    assert_eq!(block_on(waiting.into_future()).unwrap(), 2);
    assert_eq!(
        *events.lock().unwrap(),
        ["Connected", "Ready", "the serial port is gone", "Connected", "Reconnected"]
    );
    block_on(client.close());
    block_on(server.shutdown()).unwrap();
}

// S08

#[test]
fn s_08_port_missing() {
    let folder = Folder::new();
    let path = folder.path("later");
    let missing = block_on(Client::connect(url(&path)).into_future()).unwrap_err().to_string();
    assert_eq!(
        missing,
        format!("cannot connect to {}: there is no such port; is the adapter plugged in?", url(&path))
    );
    let server = start(echo_server(url(&path)));
    let far = folder.path("far");
    let client = block_on(
        Client::connect(url(&far))
            .backoff(Backoff::new(Duration::from_millis(10), Duration::from_millis(100)))
            .lazy()
            .into_future(),
    )
    .unwrap();
    let waiting = client.call::<_, u32>(10, 1, &2).timeout(PATIENCE);
    let (left, right) = (Tty::new(), Tty::new());
    let _cable = Cable::new(&left, &right);
    folder.link("later", &left);
    folder.link("far", &right);
    assert_eq!(block_on(waiting.into_future()).unwrap(), 2);
    block_on(client.close());
    block_on(server.shutdown()).unwrap();
}

#[test]
fn s_08_not_a_tty_and_a_rate_that_no_port_has() {
    let folder = Folder::new();
    fs::write(folder.path("file"), "text").unwrap();
    for path in [folder.path("file"), folder.path(""), PathBuf::from("/dev/null")] {
        let path = PathBuf::from(path.to_str().unwrap().trim_end_matches('/'));
        let bound = block_on(echo_server(url(&path)).start()).unwrap_err().to_string();
        assert_eq!(bound, format!("cannot listen on {}: this is not a serial port", url(&path)));
        let connected = block_on(Client::connect(url(&path)).into_future()).unwrap_err();
        assert!(matches!(&connected, Error::Connect { .. }), "{connected}");
        assert!(connected.to_string().contains("this is not a serial port"), "{connected}");
    }
    assert_eq!(fs::read_to_string(folder.path("file")).unwrap(), "text");
    let tty = Tty::new();
    let address = format!("serial://{}?baud=12345678", tty.path.display());
    let refused = block_on(echo_server(&address).start()).unwrap_err().to_string();
    assert_eq!(refused, format!("address `{address}`: the rate 12345678 is outside 50 to 4000000 baud"));
}

#[test]
fn s_08_no_permission() {
    let tty = Tty::new();
    fs::set_permissions(&tty.path, fs::Permissions::from_mode(0o000)).unwrap();
    // Root may open everything, so the program runs as somebody else; where it lies he may not look.
    let folder = Folder::new();
    fs::set_permissions(folder.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path("echo");
    fs::copy(example("echo"), &program).unwrap();
    let mut command = Command::new(program);
    if rustix::process::geteuid().is_root() {
        command.uid(65_534);
    }
    let ended = command
        .args(["--listen", &tty.url()])
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .expect("the example runs");
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(
        stderr,
        format!(
            "cannot listen on {}: no permission to open the port; add the user to the group that owns it, on most \
             systems `dialout`\n",
            tty.url()
        )
    );
    assert_eq!(ended.status.code(), Some(1));
}
