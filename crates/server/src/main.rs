//! The binary `callvault`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = match callvault_server::cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    callvault_server::cli::run(cli)
}
