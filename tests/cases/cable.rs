//! Serial ports of pseudo terminals, and cables between them that lose, garble, echo and take their time.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{self, OptionalActions, Termios};

/// How long anything here waits before it looks whether it has to end.
const TURN: Duration = Duration::from_millis(20);

/// A serial port: what the library opens, and the wires behind it. Dropping it is to unplug it.
pub(crate) struct Tty {
    wires: Arc<File>,
    /// Held, so that closing the port at one side does not end it.
    pub(crate) port: File,
    pub(crate) path: PathBuf,
}

impl Tty {
    /// A port that has been used by programs before: it lets all bytes pass.
    pub(crate) fn new() -> Self {
        let tty = Self::cooked();
        let mut settings = tty.settings();
        settings.make_raw();
        termios::tcsetattr(&tty.port, OptionalActions::Now, &settings).unwrap();
        tty
    }

    /// A port as a terminal has it: with echo, line by line, with keys that send signals.
    pub(crate) fn cooked() -> Self {
        let wires = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&wires).unwrap();
        unlockpt(&wires).unwrap();
        let path = PathBuf::from(ptsname(&wires, Vec::new()).unwrap().into_string().unwrap());
        rustix::fs::fcntl_setfl(&wires, OFlags::RDWR | OFlags::NONBLOCK).unwrap();
        let flags = i32::try_from((OFlags::NOCTTY | OFlags::NONBLOCK).bits()).unwrap();
        let port = OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path).unwrap();
        Self { wires: Arc::new(wires.into()), port, path }
    }

    pub(crate) fn url(&self) -> String {
        url(&self.path)
    }

    pub(crate) fn settings(&self) -> Termios {
        termios::tcgetattr(&self.port).unwrap()
    }

    /// What comes out of the port: some bytes, or none for now.
    pub(crate) fn read(&self) -> Vec<u8> {
        wait_for(&self.wires, PollFlags::IN);
        let mut bytes = vec![0; 4096];
        let count = match (&*self.wires).read(&mut bytes) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Err(error) => panic!("the wires of {}: {error}", self.path.display()),
        };
        bytes.truncate(count);
        bytes
    }

    /// Puts bytes on the wires to the port. Where nobody takes them for a while they are lost, as on a real line.
    pub(crate) fn write(&self, mut bytes: &[u8]) {
        let mut patience = 100;
        while !bytes.is_empty() && patience > 0 {
            match (&*self.wires).write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    patience -= 1;
                    wait_for(&self.wires, PollFlags::OUT);
                }
                Err(error) => panic!("the wires of {}: {error}", self.path.display()),
            }
        }
    }
}

pub(crate) fn url(path: &Path) -> String {
    format!("serial://{}?baud=115200", path.display())
}

fn wait_for(file: &File, what: PollFlags) {
    let turn = Timespec { tv_sec: 0, tv_nsec: TURN.subsec_nanos().into() };
    let _ = poll(&mut [PollFd::new(file, what)], Some(&turn));
}

/// What a cable does to the bytes of one direction.
pub(crate) type Disturb = Box<dyn FnMut(Vec<u8>) -> Vec<u8> + Send>;

/// A cable between two ports, while it is held.
pub(crate) struct Cable {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Cable {
    pub(crate) fn new(left: &Tty, right: &Tty) -> Self {
        Self::with(left, right, false, || Box::new(|bytes| bytes))
    }

    /// A cable with a disturbance of its own for each direction. With `echo` each side hears itself as well.
    pub(crate) fn with(left: &Tty, right: &Tty, echo: bool, mut disturb: impl FnMut() -> Disturb) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (from, to) in [(left, right), (right, left)] {
            let (from, to) = (from.wires_alone(), to.wires_alone());
            let (stop, mut disturb) = (Arc::clone(&stop), disturb());
            threads.push(thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let bytes = from.read();
                    if echo {
                        from.write(&bytes);
                    }
                    if !bytes.is_empty() {
                        to.write(&disturb(bytes));
                    }
                }
            }));
        }
        Self { stop, threads }
    }
}

impl Tty {
    /// The same wires, for another thread.
    fn wires_alone(&self) -> Self {
        Self { wires: Arc::clone(&self.wires), port: self.port.try_clone().unwrap(), path: self.path.clone() }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(thread::panicking() || ended.is_ok(), "a direction of the cable has panicked");
        }
    }
}
