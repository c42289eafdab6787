//! The `clari-lake` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    clari_lake::cli::main()
}
