//! The layers of the library, held by its imports: who may use whom.

use std::fs;
use std::path::Path;

use crate::support::repository;

/// Each module of `socketproto/src`, and the modules it may name. Lower ones stand first, so every arrow goes up in
/// this list; a new arrow is a decision, and is added here.
const LAYERS: &[(&str, &[&str])] = &[
    ("id", &[]),
    ("limits", &[]),
    ("mailbox", &[]),
    ("backoff", &["limits"]),
    ("event", &[]),
    ("fault", &["id"]),
    ("contain", &["fault"]),
    ("error", &["id", "fault"]),
    ("strings", &[]),
    ("message", &["id", "strings"]),
    ("names", &["id"]),
    ("frame", &["id", "strings", "message"]),
    ("framing", &[]),
    ("secure", &[]),
    ("session", &["id", "limits", "fault", "error", "message", "names", "frame", "framing", "secure"]),
    ("routes", &["id", "fault", "error", "message", "session"]),
    ("link", &["id", "fault", "message", "session", "routes"]),
    ("pending", &["session", "link"]),
    ("peer", &["id", "fault", "error", "strings", "message", "session", "link", "pending"]),
    ("registering", &["id", "fault", "error", "message"]),
    ("protocol", &["id", "error", "strings", "message", "session", "peer", "pending", "registering"]),
    ("service", &["id", "fault", "strings", "message", "peer"]),
    ("callback", &["id", "session", "routes", "service"]),
    ("actix", &["mailbox", "fault", "contain", "service"]),
    ("registry", &["id", "error", "session", "routes", "service"]),
    ("secret", &["error", "id", "secure"]),
    ("signals", &["error"]),
    ("transport", &["backoff", "error", "frame", "framing"]),
    ("testing", &["error", "transport"]),
    ("credentials", &["id", "error", "secret", "session", "transport"]),
    (
        "actor",
        &[
            "backoff",
            "event",
            "id",
            "limits",
            "mailbox",
            "fault",
            "contain",
            "error",
            "message",
            "session",
            "link",
            "peer",
            "service",
            "registry",
            "routes",
            "credentials",
            "secret",
            "secure",
            "transport",
        ],
    ),
    ("hosted", &["contain", "error", "service", "actor"]),
    (
        "endpoint",
        &[
            "backoff",
            "event",
            "id",
            "limits",
            "fault",
            "error",
            "message",
            "framing",
            "session",
            "routes",
            "peer",
            "service",
            "callback",
            "credentials",
            "transport",
            "actor",
            "hosted",
        ],
    ),
    (
        "server",
        &[
            "backoff",
            "event",
            "id",
            "limits",
            "mailbox",
            "fault",
            "error",
            "message",
            "session",
            "link",
            "routes",
            "peer",
            "registering",
            "protocol",
            "service",
            "secret",
            "signals",
            "transport",
            "actor",
            "actix",
            "hosted",
            "endpoint",
        ],
    ),
    (
        "client",
        &[
            "backoff",
            "event",
            "id",
            "limits",
            "fault",
            "error",
            "message",
            "session",
            "link",
            "peer",
            "registering",
            "service",
            "secret",
            "transport",
            "actor",
            "hosted",
            "endpoint",
        ],
    ),
    (
        "blocking",
        &["id", "limits", "error", "message", "peer", "registering", "protocol", "actor", "server", "client"],
    ),
    (
        "bench",
        &[
            "id",
            "message",
            "frame",
            "framing",
            "secure",
            "session",
            "link",
            "peer",
            "service",
            "transport",
            "endpoint",
        ],
    ),
    ("private", &["id", "fault", "contain", "message", "peer", "service", "actix", "transport"]),
];

/// Modules without I/O, clock and randomness, and what would bring them in.
const PURE: [&str; 6] = ["message", "names", "frame", "framing", "secure", "session"];
const IMPURE: [&str; 10] = [
    "tokio::",
    "actix",
    "rand::",
    "SystemTime",
    "Instant::now",
    "Utc::",
    "std::net",
    "std::thread",
    "std::fs",
    "std::env",
];

/// Modules that take apart what a peer sends, or judge it: in them nothing is indexed, and no number overflows unseen. Each
/// says so in its root, below its own comment.
const CHECKED: [&str; 8] = [
    "actor/authenticator",
    "frame/mod",
    "framing/mod",
    "message",
    "secret",
    "secure/mod",
    "session/mod",
    "strings",
];
const CHECKS: &str =
    "\n\n#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]\n\n";

/// What is wrong with the text of one file of a module. `nested` says how many modules stand between it and the root.
fn mistakes(module: &str, nested: usize, text: &str) -> Vec<String> {
    let code = code(text);
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
        return vec![format!("the module `{module}` is missing in the table of layers: give it its place")];
    };
    let mut found = Vec::new();
    for named in named(&code) {
        if named != module && !allowed.contains(&named.as_str()) {
            found
                .push(format!("`{module}` names `crate::{named}`, which the table of layers does not allow"));
        }
    }
    if code.contains(&"super::".repeat(nested)) {
        found.push(format!("`{module}` reaches the root by `super::`; write `crate::MODULE::..`"));
    }
    if PURE.contains(&module) {
        for impure in IMPURE.iter().filter(|impure| code.contains(*impure)) {
            found.push(format!("`{module}` is pure, and yet names `{impure}`"));
        }
    }
    found
}

/// The text without comments and without what is compiled for unit tests alone.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let attribute = line.trim();
        if attribute == "#[cfg(test)]" || attribute.starts_with("#[cfg(all(test,") {
            skip_item(&mut lines, line.len() - line.trim_start().len());
            continue;
        }
        code.push_str(line.split("//").next().unwrap_or_default());
        code.push('\n');
    }
    code
}

/// Skips the item behind an attribute, as rustfmt lays it out: up to `;`, or to the brace that stands below it.
fn skip_item<'a>(lines: &mut impl Iterator<Item = &'a str>, indent: usize) {
    let end = format!("{}}}", " ".repeat(indent));
    for line in lines {
        if line.starts_with(&end) || (line.ends_with(';') && !line[indent..].starts_with(' ')) {
            return;
        }
    }
}

/// The modules behind `crate::`, also those in braces.
fn named(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => found.push(word(rest)),
            Some(group) => found.extend(members(group)),
        }
    }
    found
}

/// The first words of the members of a group, up to its closing brace.
fn members(group: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut depth = 0;
    let mut begins = true;
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => begins = true,
            _ if begins && !character.is_whitespace() => {
                found.push(word(&group[at..]));
                begins = false;
            }
            _ => {}
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

/// Calls with module, modules up to the root and text of every file but the root itself and those of unit tests.
fn for_each_file(folder: &Path, above: Option<&str>, check: &mut dyn FnMut(&str, usize, &str)) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let stem = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        if stem == "tests" || (stem == "lib" && above.is_none()) {
            continue;
        }
        let module = above.unwrap_or(&stem);
        if path.is_dir() {
            for_each_file(&path, Some(module), check);
        } else {
            let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let nested = if above.is_none() || stem == "mod" { 1 } else { 2 };
            check(module, nested, &text);
        }
    }
}

#[test]
fn every_module_names_only_what_lies_below_it() {
    let mut files = 0;
    let mut seen = Vec::new();
    let mut wrong = Vec::new();
    for_each_file(&repository().join("socketproto/src"), None, &mut |module, nested, text| {
        files += 1;
        seen.push(module.to_owned());
        wrong.extend(mistakes(module, nested, text));
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files > 40, "only {files} files were found");
    for (module, _) in LAYERS {
        assert!(seen.iter().any(|name| name == module), "`{module}` of the table does not exist");
    }
}

#[test]
fn modules_that_read_what_a_peer_sends_are_checked_for_it() {
    for module in CHECKED {
        let path = repository().join("socketproto/src").join(module).with_extension("rs");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.contains(CHECKS), "{module} does not say:{CHECKS}");
    }
}

#[test]
fn the_table_of_layers_lets_no_arrow_go_up() {
    for (at, (module, allowed)) in LAYERS.iter().enumerate() {
        for name in *allowed {
            let below = LAYERS[..at].iter().any(|(lower, _)| lower == name);
            assert!(below, "`{module}` may name `{name}`, which does not stand before it");
        }
    }
}

#[test]
fn a_forbidden_arrow_is_found() {
    for text in [
        "use crate::client::Client;",
        "use crate::{id::Status, client::Client};",
        "use crate::{\n    id::{Status, DataId},\n    client,\n};",
        "fn f(client: &crate::client::Client) {}",
        "#[cfg(test)]\nmod tests {\n    use super::*;\n}\n\npub(crate) use crate::client::Client;",
        "#[cfg(test)]\nmod tests;\nuse crate::client::Client;",
        "#[cfg(unix)]\nuse crate::client::Client;",
        "mod inner {\n    #[cfg(test)]\n    use x::y;\n    use crate::client::Client;\n}",
    ] {
        let wrong = mistakes("session", 1, text);
        assert_eq!(wrong.len(), 1, "{text}\n{wrong:?}");
        assert!(wrong[0].contains("`session` names `crate::client`"), "{wrong:?}");
    }
    assert_eq!(mistakes("fault", 1, "use super::id;").len(), 1);
    assert_eq!(mistakes("session", 2, "use super::super::id;").len(), 1);
    assert_eq!(mistakes("session", 2, "use super::Session;").len(), 0);
    assert_eq!(mistakes("session", 1, "use crate::Fault;").len(), 1);
}

#[test]
fn what_is_allowed_or_only_for_unit_tests_is_passed_over() {
    for text in [
        "use crate::id::Status;",
        "use crate::session::Session;",
        "// use crate::client::Client;",
        "/// See [`crate::client::Client`].",
        "#[cfg(test)]\nmod tests {\n    use crate::client::Client;\n    use tokio::time;\n}",
        "#[cfg(test)]\nuse crate::client::Client;",
        "#[cfg(all(test, unix))]\nmod tests {\n    use crate::client::Client;\n}",
        "use tokio_util::codec::Decoder;\nuse std::time::{Duration, Instant};",
    ] {
        assert_eq!(mistakes("session", 1, text), [""; 0], "{text}");
    }
}

#[test]
fn a_clock_in_the_session_is_found() {
    for text in [
        "use tokio::time::sleep;",
        "use tokio::net::TcpStream;",
        "use actix::Actor;",
        "let now = Instant::now();",
        "let now = std::time::SystemTime::now();",
        "use rand::rngs::SysRng;",
    ] {
        assert_eq!(mistakes("session", 1, text).len(), 1, "{text}");
        assert!(mistakes("actor", 1, text).is_empty(), "{text}");
    }
}

#[test]
fn a_module_without_a_place_is_found() {
    let wrong = mistakes("newcomer", 1, "");
    assert_eq!(wrong, ["the module `newcomer` is missing in the table of layers: give it its place"]);
}
