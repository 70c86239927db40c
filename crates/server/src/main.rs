//! The binary `callvault`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match callvault_server::cli::parse() {
        Ok(cli) => callvault_server::cli::run(cli),
        Err(code) => code,
    }
}
