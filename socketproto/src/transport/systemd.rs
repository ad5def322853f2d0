//! Listeners that a service manager made and handed over: `systemd://`, `systemd://1`, `systemd://NAME`.
//!
//! The manager passes descriptors from 3 on, their count in `LISTEN_FDS`, the process they are for in `LISTEN_PID`, their
//! names in `LISTEN_FDNAMES`. What listens there stays the manager's: its socket files are not removed at the end.

use std::env;
use std::fmt;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use listenfd::ListenFd;

use crate::transport::upgrade::Upgrades;
use crate::transport::{Listener, OpenListener};

/// More descriptors than any manager passes; whatever says more is a mistake.
const MAX_PASSED: usize = 4096;
/// The first descriptor that is passed.
const FIRST: usize = 3;

/// What was passed to this process. It is taken out of the environment, so that no child believes it was for it, and by
/// the first that asks; each descriptor serves once. Taking it out is `listenfd`'s doing: code in C that reads the
/// environment in another thread at that moment may miss a variable.
static PASSED: LazyLock<Mutex<Result<Passed, String>>> = LazyLock::new(|| Mutex::new(Passed::from_env()));

struct Passed {
    descriptors: ListenFd,
    names: Vec<String>,
}

/// Which of the descriptors.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Descriptor {
    Index(usize),
    Name(Box<str>),
}

impl Descriptor {
    /// Understands what stands behind `systemd://`: nothing is the first one.
    pub(super) fn parse(text: &str) -> Self {
        match text {
            "" => Self::Index(0),
            text => text.parse().map_or_else(|_| Self::Name(text.into()), Self::Index),
        }
    }

    /// The index among those that were passed. Of several with one name it is the first.
    fn find(&self, count: usize, names: &[String]) -> Result<usize, String> {
        match self {
            Self::Index(index) if *index < count => Ok(*index),
            Self::Index(index) => Err(format!(
                "{count} descriptors were passed, so the last is systemd://{}, and there is no {index}",
                count.saturating_sub(1)
            )),
            Self::Name(name) => {
                names.iter().take(count).position(|known| **known == **name).ok_or_else(|| {
                    format!(
                        "no descriptor with the name `{name}` was passed; LISTEN_FDNAMES has `{}`",
                        names.join(":")
                    )
                })
            }
        }
    }
}

impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "systemd://{index}"),
            Self::Name(name) => write!(f, "systemd://{name}"),
        }
    }
}

/// Takes over a listener.
pub(super) fn bind(which: &Descriptor, upgrades: Arc<Upgrades>) -> io::Result<Listener> {
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    let taken = match &mut *passed {
        Ok(passed) => passed.take(which),
        Err(reason) => Err(reason.clone()),
    };
    taken.map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?.listen(upgrades)
}

impl Passed {
    fn from_env() -> Result<Self, String> {
        let variable = |name| env::var(name).ok();
        let count = count(
            variable("LISTEN_FDS").as_deref(),
            variable("LISTEN_PID").as_deref(),
            variable("LISTEN_FDS_FIRST_FD").as_deref(),
            std::process::id(),
        )?;
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let names = names.split(':').filter(|_| !names.is_empty()).map(str::to_owned).collect();
        let descriptors = ListenFd::from_env();
        if descriptors.len() != count {
            return Err(format!("{count} descriptors were passed, but {} can be taken", descriptors.len()));
        }
        Ok(Self { descriptors, names })
    }

    fn take(&mut self, which: &Descriptor) -> Result<OpenListener, String> {
        let index = which.find(self.descriptors.len(), &self.names)?;
        let shown = format!("descriptor {} ({which})", FIRST + index);
        let taken = || format!("{shown} is taken already: each serves one server, once");
        // The kind of a socket is told by trying: one that is of another kind stays where it is.
        let listener = match self.descriptors.take_unix_listener(index) {
            Ok(listener) => {
                let listener = listener.ok_or_else(taken)?;
                must_listen(&listener, &shown)?;
                OpenListener::from(listener)
            }
            Err(_) => {
                let listener = self
                    .descriptors
                    .take_tcp_listener(index)
                    .map_err(|_| format!("{shown} is no stream socket, neither TCP nor Unix; a `.socket` unit needs ListenStream="))?
                    .ok_or_else(taken)?;
                must_listen(&listener, &shown)?;
                OpenListener::from(listener)
            }
        };
        Ok(listener)
    }
}

/// How many descriptors were passed to the process `own`.
fn count(fds: Option<&str>, pid: Option<&str>, first: Option<&str>, own: u32) -> Result<usize, String> {
    let Some(fds) = fds else {
        return Err(
            "no descriptors were passed: LISTEN_FDS is not set; start the program by a `.socket` unit, or \
                    listen on an address of its own"
                .to_owned(),
        );
    };
    let count = fds.parse().ok().filter(|count| (1..=MAX_PASSED).contains(count));
    let count =
        count.ok_or_else(|| format!("LISTEN_FDS is `{fds}`, expected a number from 1 to {MAX_PASSED}"))?;
    if pid.is_some_and(|pid| !pid.is_empty() && pid.parse() != Ok(own)) {
        return Err(format!(
            "the descriptors are for the process {} (LISTEN_PID), and this is {own}; a wrapper has to `exec` the program",
            pid.unwrap_or_default()
        ));
    }
    if first.is_some_and(|first| first.parse() != Ok(FIRST)) {
        return Err(format!("LISTEN_FDS_FIRST_FD is not {FIRST}; pass the descriptors from there on"));
    }
    Ok(count)
}

/// A socket that was passed for one connection (`Accept=yes`), or never told to listen, is no listener.
fn must_listen(socket: &impl AsFd, shown: &str) -> Result<(), String> {
    if listens(socket) {
        Ok(())
    } else {
        Err(format!("{shown} does not listen; a `.socket` unit needs Accept=no"))
    }
}

#[cfg(not(target_vendor = "apple"))]
fn listens(socket: &impl AsFd) -> bool {
    rustix::net::sockopt::socket_acceptconn(socket).unwrap_or(true)
}

/// These systems cannot tell; there the first accept says it.
#[cfg(target_vendor = "apple")]
fn listens(_: &impl AsFd) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_is_counted_or_refused_with_its_reason() {
        assert_eq!(count(Some("2"), Some("7"), None, 7), Ok(2));
        assert_eq!(count(Some("1"), None, Some("3"), 7), Ok(1));
        assert_eq!(count(Some("1"), Some(""), None, 7), Ok(1));
        let cases = [
            ((None, Some("7"), None), "LISTEN_FDS is not set"),
            ((Some("0"), Some("7"), None), "LISTEN_FDS is `0`"),
            ((Some("many"), Some("7"), None), "LISTEN_FDS is `many`"),
            ((Some("2147483647"), Some("7"), None), "expected a number from 1 to 4096"),
            ((Some("1"), Some("8"), None), "for the process 8 (LISTEN_PID), and this is 7"),
            ((Some("1"), Some("x"), None), "for the process x"),
            ((Some("1"), Some("7"), Some("2147483647")), "LISTEN_FDS_FIRST_FD is not 3"),
        ];
        for ((fds, pid, first), expected) in cases {
            let reason = count(fds, pid, first, 7).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }

    #[test]
    fn a_descriptor_is_found_by_number_and_by_name() {
        let names = ["web".to_owned(), "control".to_owned()];
        let find = |text| Descriptor::parse(text).find(2, &names);
        assert_eq!((find(""), find("1"), find("control")), (Ok(0), Ok(1), Ok(1)));
        assert!(find("2").unwrap_err().contains("the last is systemd://1, and there is no 2"));
        assert!(find("radio").unwrap_err().contains("LISTEN_FDNAMES has `web:control`"));
    }
}
