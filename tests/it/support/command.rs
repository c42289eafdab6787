//! The program as a process.

use std::process::{Command, Output};

use clari_lake::internals::simulator::Settings;

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

/// The command with the simulator's credentials, at this server.
pub(crate) fn clari_lake_at(args: &[&str], base_url: &str) -> Command {
    let mut command = clari_lake(args);
    let Settings { api_key, api_password, .. } = Settings::default();
    command.envs([("CLARI_API_KEY", api_key), ("CLARI_API_PASSWORD", api_password)]);
    command.env("CLARI_BASE_URL", base_url);
    command
}
