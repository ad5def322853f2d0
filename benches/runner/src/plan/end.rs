//! One end of a comparison as a command.

use std::path::PathBuf;

/// A program of this workspace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    Raw,
    Ours,
    Tarpc,
    Jsonrpsee,
    Tonic,
    Nats,
    Zmq,
    Python,
}

/// A program, and how it is run.
#[derive(Clone, Debug)]
pub struct End {
    program: Program,
    flags: Vec<String>,
}

impl End {
    pub fn new(program: Program, variant: &str) -> Self {
        Self { program, flags: vec!["--variant".to_owned(), variant.to_owned()] }
    }

    /// On this runtime, instead of tokio's on one thread.
    pub fn on(self, runtime: &str) -> Self {
        self.with("--runtime", runtime)
    }

    pub fn with(mut self, flag: &str, value: impl ToString) -> Self {
        self.flags.extend([flag.to_owned(), value.to_string()]);
        self
    }

    /// The command of a server.
    pub fn serve(&self) -> Vec<String> {
        let mut command = self.program.command();
        command.push("serve".to_owned());
        command.extend(self.flags.iter().cloned());
        command
    }

    /// The command of a load, but for its shape.
    pub fn load(&self, address: &str) -> Vec<String> {
        let mut command = self.program.command();
        command.extend(["load".to_owned(), "--to".to_owned(), address.to_owned()]);
        command.extend(self.flags.iter().cloned());
        command
    }

    /// For people.
    pub fn describe(&self) -> String {
        format!("{} {}", self.program.name(), self.flags.join(" "))
    }
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Raw => "bench-raw",
            Self::Ours => "bench-ours",
            Self::Tarpc => "bench-tarpc",
            Self::Jsonrpsee => "bench-jsonrpsee",
            Self::Tonic => "bench-tonic",
            Self::Nats => "bench-nats",
            Self::Zmq => "bench-zmq",
            Self::Python => "python/peer.py",
        }
    }

    fn command(self) -> Vec<String> {
        if self == Self::Python {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../python/peer.py");
            return vec!["python3".to_owned(), script.to_owned()];
        }
        // Built together, the programs lie side by side.
        let path = std::env::current_exe()
            .ok()
            .and_then(|path| path.parent().map(|folder| folder.join(self.name())));
        let path = path.unwrap_or_else(|| PathBuf::from(self.name()));
        vec![path.display().to_string()]
    }
}
