//! Tests of socketproto that need more than one crate: dialogues over real lines in `it/`, what went wrong in the field in
//! `cases/`, disturbed lines in `faults/`, every word of the macros in `declaration/` and their diagnostics in `ui/`,
//! golden bytes in `vectors/`, those of others in `foreign/`, a peer in Python in `python/`, with random dialogues whose Rust
//! side is in `bin/`. The README's example is compiled and run here.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
