//! Field cases: what public bug reports of comparable programs describe, each as input and right outcome.
//!
//! `CASES.md` lists them, with the reasons where the protocol decides otherwise. The server is the `echo` example as a
//! process of its own, or one in this process where a case needs a special handler; the peer speaks raw bytes. What a
//! process uses is read from `/proc`.

#![cfg(target_os = "linux")]

mod a_noise;
mod a_stream;
mod a_text;
mod b_envelope;
mod b_json_texts;
mod b_payloads;
mod b_size;
mod b_text;
mod b_values;
mod c_calls;
mod c_handlers;
mod cable;
mod d25_systemd;
mod d_events;
mod d_lines;
mod d_names;
mod d_process;
mod d_reconnect;
mod d_resources;
mod e_log;
mod e_login;
mod e_names;
mod e_secrets;
mod e_tls;
mod index;
#[path = "../it/tls/made.rs"]
#[allow(dead_code, reason = "the dialogues need more of it")]
mod made;
mod program;
mod s_ports;
mod s_restart;
mod s_wire;
mod support;
mod u_unix;
mod vault;
mod w_websocket;
mod web;
