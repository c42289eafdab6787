//! The program as a process.

use std::process::{Command, Output};

/// The program in an empty environment, so that no credentials of this machine get in.
pub(crate) fn clari_lake(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clari-lake"));
    command.env_clear().args(args);
    command
}

/// Runs a command, and looks at how it ends.
pub(crate) trait Assert {
    fn assert(&mut self) -> Ended;
}

impl Assert for Command {
    fn assert(&mut self) -> Ended {
        Ended(self.output().unwrap())
    }
}

/// A process that has ended.
pub(crate) struct Ended(Output);

impl Ended {
    /// Makes sure that this is its exit code.
    #[track_caller]
    pub(crate) fn code(&self, expected: i32) {
        let stderr = String::from_utf8_lossy(&self.0.stderr);
        assert_eq!(self.0.status.code(), Some(expected), "{stderr}");
    }
}
