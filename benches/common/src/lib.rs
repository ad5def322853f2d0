//! What the programs of the comparison share.
//!
//! A program reads its command line with [`command`], runs its server or its load with [`run`], and measures with
//! [`drive`] where its client is called and awaited, or with a [`Window`] where it is not.

mod account;
#[cfg(feature = "tls")]
mod certificate;
mod command;
mod drive;
mod idle;
mod payload;
mod serving;
mod window;

pub use crate::account::{Account, resident};
#[cfg(feature = "tls")]
pub use crate::certificate::Certificate;
pub use crate::command::{Command, Flavor, Load, Serve, Shape, command, run};
pub use crate::drive::{Connection, PAUSE, Worker, drive, drive_with};
pub use crate::payload::{Reply, Request, TEXT_LEN, text};
pub use crate::serving::serve_until_stdin_ends;
pub use crate::window::{Counter, Outcome, Window};
