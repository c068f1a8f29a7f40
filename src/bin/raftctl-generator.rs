//! The systemd generator. Everything is in [`raftctl::generator`].

fn main() -> std::process::ExitCode {
    raftctl::generator::main()
}
