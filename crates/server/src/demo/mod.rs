//! `callvault demo`: a vault with a history, a tour of it, and a date that can be pushed forward.
//!
//! Everything is the production code; only the clock and the generator differ. The clock is set back 400 days, and the
//! history is imported as it would have come, 20 days at a time, with the background work between: what has lapsed
//! meanwhile was deleted by the code that deletes in production.

pub mod generate;
mod history;
mod speech;
mod tour;

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use callvault_app::{
    Clock, ManualClock,
    core::{AccountSid, TimeUs, time::DAY_US},
};
use clap::Args;

use crate::{
    cli::{CliError, Output},
    clock::{self, RunningClock, Stopwatch, SystemClock},
    config::Config,
    serve::{self, Serving},
    site::Site,
};

/// What marks a folder as a demo's, so that nothing else is ever removed.
const MARK: &str = "this-is-a-demo";
/// The file that the process of a running demo holds locked.
const LOCK: &str = "lock";
/// The file with the demo's date.
const CLOCK: &str = "clock";
/// How often the demo looks for an order to push the date.
const LOOK: Duration = Duration::from_millis(200);
/// How long `--push` waits for the running demo.
const PATIENCE_LOOKS: u32 = 600;

/// Arguments of `demo`.
#[derive(Args)]
pub struct Demo {
    /// Where the demo lives.
    #[arg(long, default_value = "demo-vault")]
    dir: PathBuf,
    /// Use the demo that is there.
    #[arg(long)]
    keep: bool,
    /// Push the date of a running demo forward, such as 30d, and say what went.
    #[arg(long, value_name = "DAYS", value_parser = parse_days)]
    push: Option<u32>,
    /// End after the tour.
    #[arg(long)]
    exit: bool,
    /// About how many records to make.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Port of region `in`; `sg` has the next one. 0 takes free ones.
    #[arg(long, default_value_t = 8443)]
    port: u16,
}

fn parse_days(text: &str) -> Result<u32, String> {
    let days = text
        .strip_suffix('d')
        .unwrap_or(text)
        .parse()
        .ok()
        .filter(|days| (1..=3_650).contains(days));
    days.ok_or_else(|| "expected days, such as 30d".to_owned())
}

/// The clock of a demo's folder, when this data folder is one: its date is not the real one.
///
/// # Errors
/// [`CliError`] while the demo is being made, and when its date cannot be read.
pub(crate) fn find_clock(data_dir: &Path) -> Result<Option<Arc<dyn Clock>>, CliError> {
    if !data_dir.join(MARK).exists() {
        return Ok(None);
    }
    Ok(Some(Arc::new(RunningClock::start(read_clock(data_dir)?))))
}

fn read_clock(dir: &Path) -> Result<TimeUs, CliError> {
    let text = std::fs::read_to_string(dir.join(CLOCK)).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            CliError::Refused("the demo is still being made, or was not finished".to_owned())
        }
        _ => CliError::file("the demo's clock", &error),
    })?;
    TimeUs::parse(text.trim()).map_err(|error| CliError::Failed(format!("the demo's clock: {error}")))
}

/// A demo that is running.
pub(crate) struct Stage {
    /// Held locked as long as the demo runs.
    _lock: File,
    pub(crate) dir: PathBuf,
    pub(crate) site: Site,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) accounts: [(AccountSid, &'static str); 2],
}

impl Demo {
    /// Runs the demo.
    ///
    /// # Errors
    /// [`CliError`].
    pub async fn run(self, out: &Output) -> Result<(), CliError> {
        if let Some(days) = self.push {
            return order_push(&self.dir, days, out).await;
        }
        crate::cli::start_log("error");
        let watch = Stopwatch::start();
        let fresh = !(self.keep && self.dir.join(MARK).exists());
        let lock = take(&self.dir)?;
        if fresh {
            clear(&self.dir)?;
        }
        let stage = self.set(fresh, lock)?;
        if fresh {
            history::make(&stage, self.records, out).await?;
            out.say(&format!("made in {:.1} s\n", watch.elapsed().as_secs_f64()))?;
        }
        let mut answer = tour::show(&stage, out).await?;
        stage.save_clock()?;
        if self.exit {
            return out.show_json(&answer);
        }
        let serving = serve::open(&stage.site, false).await?;
        answer["doors"] = tour::show_doors(&stage, &serving, out).await?.into();
        out.show_json(&answer)?;
        stage.run(serving).await
    }

    fn set(&self, fresh: bool, lock: File) -> Result<Stage, CliError> {
        let today = SystemClock.now();
        let start = if fresh {
            TimeUs(today.day().start().0).plus_days(-history::DAYS)
        } else {
            read_clock(&self.dir)?
        };
        let clock = Arc::new(ManualClock::new(start));
        let text = write_config(&self.dir, self.port)?;
        let config = Config::parse(&text, &self.dir.join("callvault.toml"), &|_| None)?;
        let site = Site::new(config, Arc::clone(&clock) as Arc<dyn Clock>)?;
        let account = |name: &str| name.parse().map_err(|_| CliError::Failed("account".to_owned()));
        let accounts = [(account("acme-in")?, "in"), (account("lion-sg")?, "sg")];
        Ok(Stage {
            _lock: lock,
            dir: self.dir.clone(),
            site,
            clock,
            accounts,
        })
    }
}

/// Makes the folder, if it is not there, and locks it for this process: no other demo may take it while one runs.
fn take(dir: &Path) -> Result<File, CliError> {
    let failed = |error| CliError::file("demo folder", &error);
    std::fs::create_dir_all(dir).map_err(failed)?;
    let empty = std::fs::read_dir(dir).map_err(failed)?.next().is_none();
    if !empty && !dir.join(MARK).exists() {
        let text = format!(
            "{} is there and is no demo; choose another folder with --dir",
            dir.display()
        );
        return Err(CliError::Refused(text));
    }
    std::fs::write(
        dir.join(MARK),
        "callvault demo clears this folder when it starts anew\n",
    )
    .map_err(failed)?;
    let file = open_lock(dir).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CliError::Refused(format!(
            "a demo is running from {}; end it first, or choose another folder with --dir",
            dir.display()
        ))),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn open_lock(dir: &Path) -> std::io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join(LOCK))
}

/// Whether a process runs the demo of this folder.
fn is_running(dir: &Path) -> Result<bool, CliError> {
    let failed = |error| CliError::file("demo folder", &error);
    if !dir.join(MARK).exists() || !dir.join(LOCK).exists() {
        return Ok(false);
    }
    match open_lock(dir).map_err(failed)?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

/// Removes an earlier demo from a folder that this process holds.
fn clear(dir: &Path) -> Result<(), CliError> {
    let failed = |error| CliError::file("demo folder", &error);
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == MARK || name == LOCK {
            continue;
        }
        if entry.file_type().map_err(failed)?.is_dir() {
            std::fs::remove_dir_all(entry.path()).map_err(failed)?;
        } else {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn write_config(dir: &Path, port: u16) -> Result<String, CliError> {
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |error| CliError::file("demo folder", &error);
    let dir = dir.canonicalize().map_err(failed)?;
    let mut text = format!("data_dir = {:?}\nmetrics = true\n", dir.display().to_string());
    for (region, offset) in [("in", 0), ("sg", 1)] {
        let port = if port == 0 { 0 } else { port + offset };
        text += &format!("\n[regions.{region}]\nlisten = \"127.0.0.1:{port}\"\n");
        std::fs::create_dir_all(dir.join(region)).map_err(failed)?;
        let path = dir.join(region).join("passphrase");
        if !path.exists() {
            let bytes =
                callvault_app::seal::random_bytes::<24>().map_err(|error| CliError::Failed(error.to_string()))?;
            let mut options = std::fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(failed)?;
            std::io::Write::write_all(&mut file, hex::encode(bytes).as_bytes()).map_err(failed)?;
        }
    }
    std::fs::write(dir.join("callvault.toml"), &text).map_err(failed)?;
    Ok(text)
}

impl Stage {
    /// Lets the date run on, and pushes it when told to.
    async fn run(self, serving: Serving) -> Result<(), CliError> {
        let (order, answer) = (self.dir.join("push"), self.dir.join("pushed"));
        let began = self.clock.now();
        let (mut pushed_us, mut saved_s) = (0, 0);
        let watch = Stopwatch::start();
        let mut stop = std::pin::pin!(serve::told_to_stop());
        loop {
            tokio::select! {
                () = &mut stop => break,
                () = clock::wait(LOOK) => {}
            }
            let ran_us = i64::try_from(watch.elapsed().as_micros()).unwrap_or(0);
            self.clock.advance_to(TimeUs(began.0 + pushed_us + ran_us));
            // The command line reads the date from the file.
            if watch.elapsed().as_secs() > saved_s {
                saved_s = watch.elapsed().as_secs();
                self.save_clock()?;
            }
            let Ok(text) = std::fs::read_to_string(&order) else {
                continue;
            };
            let failed = |error| CliError::file("order to push", &error);
            std::fs::remove_file(&order).map_err(failed)?;
            let Ok(days) = parse_days(text.trim()) else { continue };
            pushed_us += i64::from(days) * DAY_US;
            let report = tour::push(&self, days).await?;
            self.save_clock()?;
            replace(&answer, &report).map_err(failed)?;
        }
        serving.close().await;
        self.save_clock()
    }

    fn save_clock(&self) -> Result<(), CliError> {
        replace(&self.dir.join(CLOCK), &self.clock.now().to_string()).map_err(|error| CliError::file("clock", &error))
    }
}

/// Writes a file whole or not at all.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let partial = path.with_extension("partial");
    std::fs::write(&partial, text)?;
    std::fs::rename(partial, path)
}

async fn order_push(dir: &Path, days: u32, out: &Output) -> Result<(), CliError> {
    let failed = |error| CliError::file("demo folder", &error);
    if !is_running(dir)? {
        return Err(CliError::Refused(format!(
            "no demo runs from {}; start one with `callvault demo`",
            dir.display()
        )));
    }
    let answer = dir.join("pushed");
    match std::fs::remove_file(&answer) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    replace(&dir.join("push"), &format!("{days}d")).map_err(failed)?;
    for _ in 0..PATIENCE_LOOKS {
        if let Ok(text) = std::fs::read_to_string(&answer) {
            std::fs::remove_file(&answer).map_err(failed)?;
            return out.show(&serde_json::json!({ "pushed_days": days, "report": text }), || {
                text.clone()
            });
        }
        clock::wait(LOOK).await;
    }
    Err(CliError::Refused(
        "the demo does not answer; is `callvault demo` running?".to_owned(),
    ))
}
