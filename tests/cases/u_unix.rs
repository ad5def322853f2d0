//! U: Unix sockets.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use socketproto::prelude::*;
use tempfile::TempDir;

use crate::support::{Echo, Wire, block_on, example, probe, start};

/// A directory for one case, and the address of a socket in it.
fn place() -> (TempDir, PathBuf, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.sock");
    let address = format!("unix://{}", path.display());
    (directory, path, address)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Ends those who watch, also where the case fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The sentence of a server that does not start.
fn refusal(address: &str) -> String {
    block_on(Server::bind(address).start()).unwrap_err().to_string()
}

/// A thermostat's values, for the `client` example.
fn serve(address: &str) -> Server {
    let read = Some(ServiceId::READ_REQUEST);
    start(Server::bind(address).register_callback(read, None, |message| match message.data_id().value() {
        4711 => Ok(Json::NULL),
        _ => Ok(Json::encode(&20).unwrap()),
    }))
}

// U01

#[test]
fn u_01_stale_unix_socket_file_after_a_crash() {
    let (directory, path, address) = place();
    let crashed = Echo::with(&["--listen", &address], "warn");
    assert_eq!(crashed.address, address);
    probe(&address);
    drop(crashed); // by SIGKILL
    let left_behind = fs::symlink_metadata(&path).unwrap();
    assert!(left_behind.file_type().is_socket());

    let echo = Echo::with(&["--listen", &address], "warn");
    assert_ne!(fs::symlink_metadata(&path).unwrap().ino(), left_behind.ino());
    let mut client = echo.connect(Wire::Stp);
    client.probe();
    let second = Command::new(example("echo")).args(["--listen", &address]).output().unwrap();
    assert_eq!(second.status.code(), Some(1), "a second instance ends at once");
    let said = String::from_utf8(second.stderr).unwrap();
    let expected = format!("cannot listen on {address}: in use: a server listens there");
    assert!(said.contains(&expected), "{said}");
    client.probe();

    // Rule 3, for the whole group.
    let mut base = echo.base();
    for _ in 0..200 {
        probe(&address);
    }
    echo.is_back_at(&mut base, 1024 * 1024);
    echo.is_idle();
    drop(base);
    client.probe();
    echo.end();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "a clean exit leaves nothing");
}

// U03

#[test]
fn u_03_permissions_whatever_the_umask() {
    for umask in ["0", "022", "077"] {
        for (option, expected) in
            [("", 0o600), ("?mode=0660", 0o660), ("?mode=0600", 0o600), ("?mode=0666", 0o666)]
        {
            let (_directory, path, address) = place();
            let mut command = Command::new("sh");
            command.args(["-c", r#"umask "$0"; exec "$@""#, umask]).stdin(Stdio::null());
            command.arg(example("echo")).args(["--listen", &format!("{address}{option}")]);
            let echo = Echo::spawn(command, "warn");
            assert_eq!(mode(&path), expected, "umask {umask}, {option}");
            echo.end();
        }
    }
}

#[test]
fn u_03_permissions_are_never_wider_not_even_for_a_moment() {
    const TIMES: usize = 200;

    let (directory, path, address) = place();
    let over = AtomicBool::new(false);
    let show = |found: fs::Metadata| format!("{:04o}", found.mode() & 0o7777);
    let watch = || {
        let mut modes = BTreeSet::new();
        while !over.load(Ordering::SeqCst) {
            modes.extend(fs::symlink_metadata(&path).ok().map(show));
        }
        modes
    };
    let watch_others = || {
        let mut modes = BTreeSet::new();
        while !over.load(Ordering::SeqCst) {
            let entries = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
            let found = entries.filter(|entry| *entry != path).map(fs::symlink_metadata);
            modes.extend(found.filter_map(Result::ok).map(show));
        }
        modes
    };
    let (modes, others) = thread::scope(|scope| {
        let watching = (scope.spawn(watch), scope.spawn(watch_others));
        let ending = Over(&over);
        for _ in 0..TIMES {
            let server = serve(&format!("{address}?mode=0620"));
            assert_eq!(mode(&path), 0o620);
            block_on(server.shutdown()).unwrap();
            assert!(!path.exists());
        }
        drop(ending);
        (watching.0.join().unwrap(), watching.1.join().unwrap())
    });
    assert!(modes.iter().all(|mode| mode == "0620"), "{modes:?}");
    assert!(others.iter().all(|mode| mode == "0700"), "what is not ready is closed to others: {others:?}");
}

#[test]
fn u_03_permissions_decide_who_connects() {
    const NOBODY: u32 = 65534;

    if !rustix::process::geteuid().is_root() {
        eprintln!("passed over: only root can run a client as another user");
        return;
    }
    let (directory, _, address) = place();
    // Where this repository lies nobody else may look into.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let client = directory.path().join("client");
    fs::copy(example("client"), &client).unwrap();
    let connect = |group: u32| {
        let mut command = Command::new(&client);
        command.arg(&address).uid(NOBODY).gid(group).current_dir("/");
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    for (option, group, other) in
        [("", false, false), ("?mode=0660", true, false), ("?mode=0666", true, true)]
    {
        let server = serve(&format!("{address}{option}"));
        for (gid, allowed) in [(0, group), (NOBODY, other)] {
            let (code, said) = connect(gid);
            if allowed {
                assert_eq!(code, Some(0), "{option} {gid}: {said}");
            } else {
                let expected =
                    format!("cannot connect to {address}: permission denied: this user may not connect");
                assert_eq!(code, Some(1), "{option} {gid}: {said}");
                assert!(said.starts_with(&expected), "{said}");
            }
        }
        probe(&address);
        block_on(server.shutdown()).unwrap();
    }
}

// U04

#[test]
fn u_04_path_too_long() {
    let path = |length: usize| format!("/{}", "x".repeat(length - 1));
    for error in [
        refusal(&format!("unix://{}", path(120))),
        block_on(Client::connect(format!("unix://{}", path(120))).into_future()).unwrap_err().to_string(),
    ] {
        assert!(error.contains(&path(120)), "{error}");
        assert!(error.contains("has 120 bytes, and 107 is the limit"), "{error}");
    }
    // As long as it may be, and one byte more.
    let (directory, _, _) = place();
    let name = |length: usize| {
        let directory = directory.path().display().to_string();
        format!("unix://{directory}/{}", "x".repeat(length - directory.len() - 1))
    };
    let server = serve(&name(107));
    probe(server.address());
    block_on(server.shutdown()).unwrap();
    assert!(refusal(&name(108)).contains("has 108 bytes, and 107 is the limit"));
}

#[test]
fn u_04_missing_directory() {
    let (directory, _, _) = place();
    let missing = directory.path().join("missing");
    let error = refusal(&format!("unix://{}/x.sock", missing.display()));
    let expected = format!("the directory `{}` does not exist, create it first", missing.display());
    assert!(error.ends_with(&expected), "{error}");
    let connecting = Client::connect(format!("unix://{}/x.sock", missing.display())).into_future();
    let error = block_on(connecting).unwrap_err().to_string();
    assert!(error.contains("there is no socket at this path"), "{error}");
    fs::create_dir(&missing).unwrap();
    let server = serve(&format!("unix://{}/x.sock", missing.display()));
    probe(server.address());
}

#[test]
fn u_04_deleted_while_running() {
    let (_directory, path, address) = place();
    let mut echo = Echo::with(&["--listen", &address], "warn");
    let mut client = echo.connect(Wire::Length);
    client.probe();
    fs::remove_file(&path).unwrap();
    client.probe();
    let error = block_on(Client::connect(&address).into_future()).unwrap_err().to_string();
    assert!(error.contains("there is no socket at this path"), "{error}");

    // It does not listen there again; what others put there in the meantime is theirs.
    let next = Echo::with(&["--listen", &address], "warn");
    let file = fs::symlink_metadata(&path).unwrap().ino();
    client.probe();
    let log = echo.end_unasked();
    assert!(log.contains("the socket's file is gone, or another's"), "{log}");
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), file);
    next.end();
    assert!(!path.exists(), "a clean exit removes it");
}
