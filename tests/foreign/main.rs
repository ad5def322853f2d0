//! Vectors that others made: of the cryptography that secure mode and legacy logins are built from, run through the very
//! crates and features that the library has them from; of JSON, through the frames. `data/README.md` says where each
//! comes from, and under which licence.

mod json_texts;
mod noise;
mod primitives;
mod sha512;

use std::path::PathBuf;

/// The path of a file in `data`.
fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("foreign/data").join(name)
}

/// A file of `data`, whole.
fn read(name: &str) -> Vec<u8> {
    std::fs::read(data(name)).unwrap_or_else(|error| panic!("{}: {error}", data(name).display()))
}
