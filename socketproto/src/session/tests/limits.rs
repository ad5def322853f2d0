//! Limits, on both sides of each (protocol.md section 8).
