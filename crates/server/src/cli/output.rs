//! What commands print: lines for people, or one JSON document for scripts. Errors and progress go to stderr.

use std::io::{BufRead, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{CliError, Done};

/// Where and how to print.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
}

impl Output {
    /// An output in JSON, or for people.
    #[must_use]
    pub const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether scripts read.
    #[must_use]
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Prints the value as JSON, or these lines.
    ///
    /// # Errors
    /// When nobody can read it.
    pub fn show(self, value: &impl Serialize, lines: impl FnOnce() -> String) -> Done {
        let text = if self.json {
            serde_json::to_string_pretty(value).map_err(|error| CliError::Failed(error.to_string()))?
        } else {
            lines()
        };
        say(text.trim_end())
    }

    /// Prints the value as JSON; people have read it already.
    ///
    /// # Errors
    /// When nobody can read it.
    pub fn show_json(self, value: &impl Serialize) -> Done {
        if self.json {
            self.show(value, String::new)
        } else {
            Ok(())
        }
    }

    /// Prints a line for people; scripts get nothing.
    ///
    /// # Errors
    /// When nobody can read it.
    pub fn say(self, line: &str) -> Done {
        if self.json { Ok(()) } else { say(line) }
    }

    /// Tells people of something that went wrong while the rest goes on; scripts find it in the answer.
    pub fn note(self, error: &CliError) {
        if !self.json {
            complain(false, error);
        }
    }

    /// A progress bar over bytes. It appears on a terminal only.
    #[must_use]
    pub fn bytes_bar(self, total: u64, what: &'static str) -> ProgressBar {
        let bar = ProgressBar::new(total).with_message(what);
        let style = "{msg:20} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }

    /// A progress bar over things that are counted. It appears on a terminal only.
    #[must_use]
    pub fn count_bar(self, total: u64, what: &'static str) -> ProgressBar {
        let bar = ProgressBar::new(total).with_message(what);
        let style = "{msg:20} {wide_bar} {human_pos}/{human_len} {eta}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar
    }

    /// Asks for a name to be typed before something that cannot be undone, unless it was given.
    ///
    /// # Errors
    /// [`CliError::Refused`] when another name comes, or nobody is there to ask.
    pub fn confirm(self, name: &str, given: Option<&str>, what: &str) -> Done {
        let typed = match given {
            Some(given) => given.to_owned(),
            None if std::io::stdin().is_terminal() => {
                let mut stderr = std::io::stderr();
                // A prompt that cannot be shown is answered by nobody.
                let _ = write!(stderr, "{what}\nThis cannot be undone. Type {name} to go on: ");
                let _ = stderr.flush();
                let mut line = String::new();
                std::io::stdin()
                    .lock()
                    .read_line(&mut line)
                    .map_err(|error| CliError::file("standard input", &error))?;
                line.trim().to_owned()
            }
            None => return Err(CliError::Refused(format!("{what} Confirm with --confirm {name}."))),
        };
        if typed == name {
            Ok(())
        } else {
            Err(CliError::Refused("not confirmed; nothing was changed".to_owned()))
        }
    }
}

/// Prints a line to standard output.
fn say(text: &str) -> Done {
    let mut stdout = std::io::stdout().lock();
    match writeln!(stdout, "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::file("standard output", &error)),
        _ => Ok(()),
    }
}

/// Prints an error to standard error, as one line.
pub(super) fn complain(json: bool, error: &CliError) {
    let text = if json {
        serde_json::json!({ "error": error.to_json() }).to_string()
    } else {
        format!("callvault: {}", super::one_line(&error.to_string()))
    };
    // Without a standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A number with its unit, for people.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// A count with separators, for people.
#[must_use]
pub fn show_count(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

/// A count of things, for people: `1 row`, `1,000 rows`.
#[must_use]
pub fn show_counted(count: u64, one: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {one}{ending}", show_count(count))
}
