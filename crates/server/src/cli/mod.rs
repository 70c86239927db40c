//! The command line.
//!
//! Exit codes: 0 done; 1 refused, not found, or not as it should be (a certificate that does not hold, a doctor's
//! alarm); 2 wrong usage or configuration; 3 a store, key or file failed. With `--json`, an error is one line of JSON on
//! standard error: `{"error":{"kind":"refused","exit_code":1,"message":"..."}}`.

mod accounts;
mod deletion;
mod exophones;
mod export;
mod holds;
mod import;
mod keeping;
mod keys;
mod output;
mod proof;
mod recordings;
mod requests;
mod running;
mod safety;
mod tokens;
mod users;
mod watch;

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use callvault_app::{VaultError, core::AccountSid};
use clap::{Parser, Subcommand};

pub use output::{Output, show_bytes, show_count, show_counted};
pub(crate) use running::start_log;

use crate::{
    clock::SystemClock,
    config::{Config, ConfigError},
    demo,
    serve::ServeError,
    site::{Site, SiteError},
};

/// A vault for telephony data that forgets on time, and proves it.
#[derive(Parser)]
#[command(
    name = "callvault",
    version,
    after_help = "Exit codes: 0 done; 1 refused, or not as it should be; 2 wrong usage or configuration; 3 a store, key or file failed."
)]
pub struct Cli {
    /// Configuration file; callvault.toml here if it exists.
    #[arg(long, global = true, env = "CALLVAULT_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Answer in JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the HTTPS API of every region that is here, and do what is due.
    Serve(running::Serve),
    /// Do what is due, without serving.
    Work(running::Work),
    /// Make a demo vault, tour it, and serve it.
    Demo(crate::demo::Demo),
    /// Import files of calls, messages or recordings.
    #[command(subcommand)]
    Import(import::Import),
    /// Export calls, messages or recordings to a file.
    #[command(subcommand)]
    Export(export::ExportCommand),
    /// Create and list accounts.
    #[command(subcommand)]
    Accounts(accounts::Accounts),
    /// Create, list, rotate and revoke API tokens.
    #[command(subcommand)]
    Tokens(tokens::Tokens),
    /// Invite, list, disable and remove the people of an account.
    #[command(subcommand)]
    Users(users::Users),
    /// Invite, list, disable and remove the operator's own people.
    #[command(subcommand)]
    Operators(users::Operators),
    /// Show, preview and set how long recordings are kept.
    #[command(subcommand)]
    Retention(keeping::Retention),
    /// Change an account's plan.
    #[command(subcommand)]
    Plan(keeping::PlanCommand),
    /// Say what will be deleted, and when.
    Forecast(keeping::Forecast),
    /// List, place and lift legal holds.
    #[command(subcommand)]
    Holds(holds::Holds),
    /// Delete for good: recordings, records put in by mistake, or an account.
    #[command(subcommand)]
    Delete(deletion::Delete),
    /// List and answer requests for the deletion of single recordings.
    #[command(subcommand)]
    Requests(requests::Requests),
    /// List, add and release an account's numbers (ExoPhones).
    #[command(subcommand)]
    Exophones(exophones::Exophones),
    /// List an account's deletions.
    Deletions(proof::Deletions),
    /// Write a deletion's certificate.
    Certificate(proof::CertificateCommand),
    /// Check a certificate offline; exit code 1 when it does not hold.
    Verify(proof::Verify),
    /// Back up a region while it goes on working.
    Backup(safety::Backup),
    /// Restore a region's backup into an empty catalog.
    Restore(safety::Restore),
    /// Look whether everything is as it should be; exit code 1 when it is not.
    Doctor(safety::Doctor),
    /// Show, rotate and back up keys.
    #[command(subcommand)]
    Keys(keys::Keys),
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// Refused, not found, or not as it should be: 1.
    #[error("{0}")]
    Refused(String),
    /// Wrong usage or configuration: 2.
    #[error("{0}")]
    Usage(String),
    /// A store, key or file failed: 3.
    #[error("{0}")]
    Failed(String),
}

impl CliError {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Failed(_) => 3,
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Usage(_) => "usage",
            Self::Failed(_) => "failed",
        }
    }

    /// The error as scripts read it, below `error`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "kind": self.kind(), "exit_code": self.code(), "message": one_line(&self.to_string()) })
    }

    /// The same error, naming the file at fault.
    pub(crate) fn of_file(self, path: &std::path::Path) -> Self {
        let name = |text| format!("{}: {text}", path.display());
        match self {
            Self::Refused(text) => Self::Refused(name(text)),
            Self::Usage(text) => Self::Usage(name(text)),
            Self::Failed(text) => Self::Failed(name(text)),
        }
    }

    /// A file or stream that failed.
    pub(crate) fn file(what: &str, error: &std::io::Error) -> Self {
        Self::Failed(format!("{what}: {error}"))
    }
}

impl From<VaultError> for CliError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Refused(_) | VaultError::Invalid { .. } | VaultError::NotFound { .. } => {
                Self::Refused(error.to_string())
            }
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<SiteError> for CliError {
    fn from(error: SiteError) -> Self {
        match error {
            SiteError::Config(_) | SiteError::Signer(_) => Self::Usage(error.to_string()),
            SiteError::Vault { region, source } => match Self::from(source) {
                Self::Refused(text) if text.starts_with("keys:") || text.starts_with("objects:") => {
                    Self::Usage(format!("region {region}: {text}"))
                }
                Self::Refused(text) => Self::Refused(text),
                Self::Usage(text) | Self::Failed(text) => Self::Failed(format!("region {region}: {text}")),
            },
            SiteError::Directory(crate::directory::DirectoryError::Taken(_))
            | SiteError::NoAccount
            | SiteError::Busy(_)
            | SiteError::Elsewhere(_) => Self::Refused(error.to_string()),
            SiteError::Directory(_) | SiteError::Lock { .. } => Self::Failed(error.to_string()),
        }
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        match error {
            ServeError::Site(error) => Self::from(error),
            ServeError::Nothing => Self::Usage(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// What a command's end is.
pub(crate) type Done = Result<(), CliError>;

/// Reads the command line. What is no command is explained, and so is whatever was asked to be explained.
///
/// # Errors
/// The process's exit code: 0 after help, 2 after wrong usage.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        let code = u8::try_from(error.exit_code()).unwrap_or(2);
        let scripts_read = std::env::args_os().any(|argument| argument == "--json");
        if scripts_read && code != 0 {
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text).to_owned();
            output::complain(true, &CliError::Usage(text));
        } else {
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
        }
        ExitCode::from(code)
    })
}

/// One line, whatever a driver had to say.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Runs a command and says how it ended.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = CliError::Failed(format!("the runtime does not start: {error}"));
            output::complain(cli.json, &error);
            return ExitCode::from(error.code());
        }
    };
    let json = cli.json;
    match runtime.block_on(dispatch(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(json, &error);
            ExitCode::from(error.code())
        }
    }
}

async fn dispatch(cli: Cli) -> Done {
    let out = Output::new(cli.json);
    // These need no configuration: a stranger runs one, a newcomer the other.
    let command = match cli.command {
        Command::Verify(command) => return command.run(&out),
        Command::Demo(command) => return command.run(&out).await,
        command => command,
    };
    let config = Config::load(cli.config.as_deref(), &|name| std::env::var(name).ok())?;
    let clock = demo::find_clock(&config.data_dir)?.unwrap_or_else(|| Arc::new(SystemClock));
    let site = Site::new(config, clock)?;
    match command {
        Command::Serve(command) => command.run(&site, &out).await,
        Command::Work(command) => command.run(&site).await,
        Command::Import(command) => command.run(&site, &out).await,
        Command::Export(command) => command.run(&site, &out).await,
        Command::Accounts(command) => command.run(&site, &out).await,
        Command::Tokens(command) => command.run(&site, &out).await,
        Command::Users(command) => command.run(&site, &out).await,
        Command::Operators(command) => command.run(&site, &out).await,
        Command::Retention(command) => command.run(&site, &out).await,
        Command::Plan(command) => command.run(&site, &out).await,
        Command::Forecast(command) => command.run(&site, &out).await,
        Command::Holds(command) => command.run(&site, &out).await,
        Command::Delete(command) => command.run(&site, &out).await,
        Command::Requests(command) => command.run(&site, &out).await,
        Command::Exophones(command) => command.run(&site, &out).await,
        Command::Deletions(command) => command.run(&site, &out).await,
        Command::Certificate(command) => command.run(&site, &out).await,
        Command::Backup(command) => command.run(&site, &out).await,
        Command::Restore(command) => command.run(&site, &out).await,
        Command::Doctor(command) => command.run(&site, &out).await,
        Command::Keys(command) => command.run(&site, &out).await,
        Command::Verify(_) | Command::Demo(_) => Ok(()),
    }
}

/// Reads an account's name from an argument.
pub(crate) fn parse_account(text: &str) -> Result<AccountSid, String> {
    text.parse()
        .map_err(|error: callvault_app::core::id::BadId| error.to_string())
}

/// Reads a moment: RFC 3339, or a day, which is its first moment in UTC.
///
/// # Errors
/// What was expected.
pub fn parse_time(text: &str) -> Result<callvault_app::core::TimeUs, String> {
    use callvault_app::core::{Day, TimeUs};
    TimeUs::parse(text)
        .or_else(|_| Day::parse(text).map(Day::start))
        .map_err(|error| format!("{error}, or 2026-01-31"))
}

/// Reads a SID from an argument.
pub(crate) fn parse_sid(text: &str) -> Result<callvault_app::core::Sid, String> {
    text.parse()
        .map_err(|error: callvault_app::core::id::BadId| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
