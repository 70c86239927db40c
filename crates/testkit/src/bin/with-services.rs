//! Runs a command with the services that tests need, and stops them afterwards.

use std::{
    env,
    process::{Command, ExitCode},
};

use callvault_testkit::services::{garage, goes_without, postgres};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1).skip_while(|argument| argument == "--");
    let Some(program) = arguments.next() else {
        eprintln!("usage: with-services [--] COMMAND [ARGUMENT...]");
        return ExitCode::FAILURE;
    };
    let mut command = Command::new(program);
    command.args(arguments);
    // Variables of `cargo run` about this package would make a cargo below build ring, and all above it, anew.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let postgres = (!goes_without("postgres")).then(postgres::Server::start);
    if let Some(server) = &postgres {
        command.env("CALLVAULT_TEST_POSTGRES", server.address());
    }
    let garage = (!goes_without("s3")).then(garage::Server::start);
    if let Some(server) = &garage {
        command
            .env("CALLVAULT_TEST_S3", server.address())
            .env("CALLVAULT_TEST_GARAGE_CONFIG", server.config());
    }
    let ended = command.status();
    drop((postgres, garage));
    match ended {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1)),
        Err(error) => {
            eprintln!("with-services: the command does not run: {error}");
            ExitCode::FAILURE
        }
    }
}
