//! Secure mode and Legacy from outside, over real lines: who meets whom and how, and what somebody in between can do about it
//! (protocol.md section 5).

mod attack;
mod between;
mod cuts;
mod desk;
mod lines;
mod logs;
#[expect(dead_code, reason = "shared with tests/it, which uses all of it")]
#[path = "../it/tls/made.rs"]
mod made;
mod matrix;
#[expect(dead_code, reason = "shared with tests/it, which uses all of it")]
#[path = "../it/process.rs"]
mod process;
mod reconnect;
mod rotation;
mod settings;
mod tamper;
