//! The program: hands over to the library and returns its exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    tink_sync::cli::main().process_exit_code()
}
