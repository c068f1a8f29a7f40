//! How a script is called, whoever starts it: program, arguments, environment, standard input.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{AccessFlags, access};

use super::ScriptError;
use super::payload::Payload;
use crate::limits::SCRIPT_INPUT_MAX_BYTES;

/// What runs `script`: node for `.js`, looked for in `searched` (colon-separated directories);
/// `None` for everything else, which runs by itself.
///
/// # Errors
/// If there is no such script, or no node for it.
pub fn interpreter(script: &Path, searched: &str) -> Result<Option<PathBuf>, ScriptError> {
    let path = || script.to_owned();
    if !script.is_absolute() {
        return Err(ScriptError::Relative { path: path() });
    }
    match fs::metadata(script) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(ScriptError::NotAFile { path: path() }),
        Err(error) => return Err(explain(script, error)),
    }
    if script.extension().is_none_or(|extension| extension != "js") {
        return Ok(None);
    }
    let node = find_program("node", searched);
    node.map(Some).ok_or_else(|| ScriptError::NoNode { path: path(), searched: searched.into() })
}

fn find_program(name: &str, path: &str) -> Option<PathBuf> {
    let absolute = path.split(':').filter(|directory| directory.starts_with('/'));
    let mut candidates = absolute.map(|directory| Path::new(directory).join(name));
    candidates.find(|candidate| access(candidate, AccessFlags::X_OK).is_ok())
}

/// The call of `script`, with exactly the documented environment and input. Its output is the
/// caller's business.
///
/// # Errors
/// If its input is too large, or there is no pipe for it.
pub fn command(
    script: &Path,
    interpreter: Option<&Path>,
    payload: &Payload,
) -> Result<Command, ScriptError> {
    let mut command = match interpreter {
        Some(node) => {
            let mut command = Command::new(node);
            command.arg(script);
            command
        }
        None => Command::new(script),
    };
    command
        .args(payload.arguments())
        .env_clear()
        .envs(payload.environment())
        .current_dir("/")
        .stdin(input_pipe(script, &payload.input())?);
    Ok(command)
}

/// Says in words what `execve(2)` said in a number.
pub fn explain(script: &Path, error: io::Error) -> ScriptError {
    let path = script.to_owned();
    match (error.raw_os_error().map(Errno::from_raw), error.kind()) {
        (Some(Errno::ENOEXEC), _) => ScriptError::NotAProgram { path },
        (_, ErrorKind::NotFound) if script.exists() => ScriptError::NoInterpreter { path },
        (_, ErrorKind::NotFound) => ScriptError::Missing { path },
        (_, ErrorKind::PermissionDenied) => ScriptError::NotExecutable { path },
        _ => ScriptError::Spawn { path, source: error },
    }
}

/// A pipe that holds `input` and then ends. Written whole BEFORE the script starts: a script that
/// does not read it, or closes it, cannot block or fail anybody.
fn input_pipe(script: &Path, input: &[u8]) -> Result<Stdio, ScriptError> {
    let path = || script.to_owned();
    let failed = |source| ScriptError::Spawn { path: path(), source };
    if input.len() > SCRIPT_INPUT_MAX_BYTES {
        let (bytes, most) = (input.len(), SCRIPT_INPUT_MAX_BYTES);
        return Err(ScriptError::InputTooLarge { path: path(), bytes, most });
    }
    let (read_end, write_end) = io::pipe().map_err(failed)?;
    fcntl(&write_end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|e| failed(e.into()))?;
    // Up to PIPE_BUF = 4096 bytes are written whole or not at all (pipe(7)).
    nix::unistd::write(&write_end, input).map_err(|e| failed(e.into()))?;
    Ok(read_end.into())
}
