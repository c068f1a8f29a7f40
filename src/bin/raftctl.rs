//! The command line; see `raftctl::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    raftctl::cli::main()
}
