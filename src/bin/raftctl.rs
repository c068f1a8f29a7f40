//! The command line. Everything is in [`raftctl::cli`].

fn main() -> std::process::ExitCode {
    raftctl::cli::main()
}
