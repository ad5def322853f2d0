//! What the process of a test uses, and tests that need a process of their own for that.

use std::process::Command;

/// Set in the process of a test that runs alone.
const ALONE: &str = "SOCKETPROTO_TEST_ALONE";

/// Whether this process runs one test alone. Where it does not, one is started that does, and has to pass.
///
/// `test` is the path of the test that asks, such as `load::a_sentence`.
#[cfg(target_os = "linux")]
pub(crate) fn is_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let own = std::env::current_exe().expect("a program knows where it lies");
    let output = Command::new(own)
        .args(["--exact", test, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("this program can be run again");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "no test has the path {test}: {text}");
    false
}

/// There is no `/proc` to look into.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_alone(_: &str) -> bool {
    false
}

/// The threads of this process.
pub(crate) fn threads() -> usize {
    status("Threads:")
}

/// The descriptors that this process has open.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// The bytes of this process that are in memory.
pub(crate) fn resident() -> usize {
    status("VmRSS:") * 1024
}

/// The most bytes of this process that ever were in memory.
pub(crate) fn peak() -> usize {
    status("VmHWM:") * 1024
}

fn status(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect(key);
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}
