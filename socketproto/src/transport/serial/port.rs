//! An open port: exclusive, raw, and as it was before when it is closed.

use std::fs::{File, OpenOptions};
use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::termios::{self, ControlModes, InputModes, OptionalActions, QueueSelector, Termios};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep};

use crate::transport::serial::{Parity, Serial};

/// How far from the asked rate, in thousandths, the port may be: beyond it the last bit of a byte is read wrongly.
const RATE_TOLERANCE: u64 = 25;

/// An open port.
pub(super) struct Port {
    file: AsyncFd<File>,
    /// How it was set before.
    original: Termios,
    byte_time: Duration,
    /// When what was written has left, at the line's rate.
    sent_at: Instant,
    draining: Option<Pin<Box<Sleep>>>,
    /// Tells when the port is closed: dropped last.
    pub(super) guard: Option<oneshot::Sender<()>>,
}

impl Port {
    /// Opens a port; this may block.
    pub(super) fn open(serial: &Serial) -> io::Result<Self> {
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
        let mut open = OpenOptions::new();
        let file = open.read(true).write(true).custom_flags(flags).open(&serial.path).map_err(not_opened)?;
        if !termios::isatty(&file) {
            return Err(not_a_port());
        }
        lock(&file)?;
        let original = termios::tcgetattr(&file)?;
        // From here on it is closed as it was found.
        let port = Self {
            file: watched(file)?,
            original,
            byte_time: serial.byte_time(),
            sent_at: Instant::now(),
            draining: None,
            guard: None,
        };
        port.set(serial)?;
        Ok(port)
    }

    /// Lets all bytes pass both ways, and what came before does not count.
    fn set(&self, serial: &Serial) -> io::Result<()> {
        let file = self.file.get_ref();
        let refused = || {
            let reason = format!(
                "the port cannot do {} baud with these settings; which rates it can do is in its manual",
                serial.baud
            );
            io::Error::new(ErrorKind::InvalidInput, reason)
        };
        let mut wanted = self.original.clone();
        wanted.make_raw();
        wanted.input_modes = InputModes::IGNBRK;
        wanted.control_modes -= ControlModes::CSIZE
            | ControlModes::PARENB
            | ControlModes::PARODD
            | ControlModes::CSTOPB
            | ControlModes::CRTSCTS;
        wanted.control_modes |= ControlModes::CS8 | ControlModes::CREAD | ControlModes::CLOCAL;
        if serial.parity != Parity::None {
            wanted.input_modes |= InputModes::INPCK;
            wanted.control_modes |= ControlModes::PARENB;
        }
        wanted.control_modes.set(ControlModes::PARODD, serial.parity == Parity::Odd);
        wanted.control_modes.set(ControlModes::CSTOPB, serial.two_stop_bits);
        wanted.control_modes.set(ControlModes::CRTSCTS, serial.hardware_flow);
        wanted.set_speed(serial.baud).map_err(|_| refused())?;
        termios::tcsetattr(file, OptionalActions::Now, &wanted).map_err(|_| refused())?;
        // A port that takes only some of it reports no error.
        let set = termios::tcgetattr(file)?;
        let off = set.output_speed().abs_diff(serial.baud);
        if u64::from(off) * 1000 > u64::from(serial.baud) * RATE_TOLERANCE
            || set.local_modes != wanted.local_modes
        {
            return Err(refused());
        }
        Ok(termios::tcflush(file, QueueSelector::IOFlush)?)
    }
}

#[allow(
    deprecated,
    reason = "a `File` owns its descriptor, which is all that `register` has its caller promise"
)]
fn watched(file: File) -> io::Result<AsyncFd<File>> {
    AsyncFd::new(file)
}

/// Nobody else opens it from now on.
fn lock(file: &File) -> io::Result<()> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(termios::ioctl_tiocexcl(file)?),
        Err(Errno::WOULDBLOCK) => Err(busy()),
        Err(error) => Err(error.into()),
    }
}

fn busy() -> io::Error {
    io::Error::new(ErrorKind::ResourceBusy, "the port is busy: another program, or this one, has opened it")
}

fn not_a_port() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "this is not a serial port")
}

fn not_opened(error: io::Error) -> io::Error {
    let missing = matches!(Errno::from_io_error(&error), Some(Errno::NXIO | Errno::NODEV));
    match error.kind() {
        ErrorKind::IsADirectory => not_a_port(),
        ErrorKind::ResourceBusy => busy(),
        ErrorKind::PermissionDenied => io::Error::new(
            ErrorKind::PermissionDenied,
            "no permission to open the port; add the user to the group that owns it, on most systems `dialout`",
        ),
        kind if missing || kind == ErrorKind::NotFound => {
            io::Error::new(ErrorKind::NotFound, "there is no such port; is the adapter plugged in?")
        }
        _ => error,
    }
}

fn gone() -> io::Error {
    io::Error::new(ErrorKind::NotConnected, "the serial port is gone")
}

/// What the device says when it was unplugged.
fn unplugged(error: io::Error) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::IO | Errno::NXIO | Errno::NODEV) => gone(),
        _ => error,
    }
}

impl Drop for Port {
    /// The port may have gone already: then there is nothing to be set.
    fn drop(&mut self) {
        let file = self.file.get_ref();
        // Closing would wait until the other side has taken it, which it may never do.
        let _ = termios::tcflush(file, QueueSelector::OFlush);
        let _ = termios::tcsetattr(file, OptionalActions::Now, &self.original);
        let _ = termios::ioctl_tiocnxcl(file);
    }
}

impl AsyncRead for Port {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.file.poll_read_ready(cx))?;
            match ready.try_io(|file| file.get_ref().read(buf.initialize_unfilled())) {
                Ok(Ok(0)) => return Poll::Ready(Err(gone())),
                Ok(Ok(count)) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(unplugged(error))),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Port {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.file.poll_write_ready(cx))?;
            match ready.try_io(|file| file.get_ref().write(bytes)) {
                Ok(Ok(count)) => {
                    let time = self.byte_time.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX));
                    self.sent_at = self.sent_at.max(Instant::now()) + time;
                    return Poll::Ready(Ok(count));
                }
                Ok(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(unplugged(error))),
                Err(_would_block) => {}
            }
        }
    }

    /// What was written is on its way; to wait for it would hold up the thread.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Waits until what was written should have left.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent_at = self.sent_at;
        let draining = self.draining.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(sent_at)));
        draining.as_mut().poll(cx).map(Ok)
    }
}
