//! The `clari-lake` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    clari_lake::internals::allocator::keep_freed_memory();
    clari_lake::internals::cli::main()
}
