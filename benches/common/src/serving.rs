//! The life of a server.

use std::io::{BufRead, Write};
use std::thread;

use anyhow::{Context, Result};

/// Prints where the server listens, and returns when stdin ends: the server then dies with whoever started it. Where its
/// processes are others than this one, `address` is followed by ` pid=P1,P2`.
///
/// The line `trim` has unused memory given back to the system, and is answered with `trimmed`.
///
/// # Errors
/// Where stdout is closed.
pub async fn serve_until_stdin_ends(address: &str) -> Result<()> {
    writeln!(std::io::stdout(), "listening {address}").context("stdout is closed")?;
    let (ended, end) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if line == "trim" {
                trim();
                let _ = writeln!(std::io::stdout(), "trimmed");
            }
        }
        let _ = ended.send(());
    });
    // The thread cannot be gone without having said so.
    let _ = end.await;
    Ok(())
}

/// Gives back what the allocator keeps.
fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "the allocator has no other way")]
    // SAFETY: malloc_trim takes any number and may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
