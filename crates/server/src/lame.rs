//! MP3 by the program `lame`, fed and read through pipes.
//!
//! A program and not a library: LAME is under the LGPL, so whoever runs the vault may replace it, and C code that reads
//! audio does not share memory with keys.

use std::{ffi::OsString, io, process::Stdio};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use callvault_app::{
    Result, VaultError,
    conversion::{Mp3Encoder, Pieces, Shape, no_encoder},
};
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
};

/// Bytes read from the program at once.
const READ_BYTES: usize = 32 * 1024;
/// Sample rates of MPEG-1, MPEG-2 and MPEG-2.5 layer III.
const RATES_HZ: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];

/// The program.
#[derive(Debug, Clone)]
pub struct Lame {
    program: OsString,
}

impl Lame {
    /// The program of this name or path.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
        }
    }

    fn command(&self, shape: Shape) -> Command {
        let mut command = Command::new(&self.program);
        // Nothing of this process's environment, secrets among it, is the program's business.
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path);
        command
            .args(arguments(shape))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// Constant bit rate, so that a stream whose length nobody knows yet needs no table of frames at its beginning.
fn arguments(shape: Shape) -> Vec<String> {
    let rate_hz = RATES_HZ.into_iter().find(|rate| *rate >= shape.sample_rate_hz);
    let rate_hz = rate_hz.unwrap_or(48_000);
    let kbps = match rate_hz {
        8_000..=12_000 => 32,
        12_001..=24_000 => 48,
        _ => 96,
    } * u32::from(shape.channels);
    let mode = if shape.channels == 1 { "m" } else { "j" };
    let khz = |hz: u32| format!("{}.{:03}", hz / 1_000, hz % 1_000);
    let given = format!(
        "--quiet -r --signed --little-endian --bitwidth 16 -s {} -m {mode} --cbr -b {kbps} --resample {} -t - -",
        khz(shape.sample_rate_hz),
        khz(rate_hz)
    );
    given.split(' ').map(ToOwned::to_owned).collect()
}

#[async_trait]
impl Mp3Encoder for Lame {
    async fn encode(&self, shape: Shape, samples: Pieces) -> Result<Pieces> {
        let mut child = self.command(shape).spawn().map_err(|error| {
            tracing::warn!(%error, "the MP3 encoder cannot be run");
            no_encoder()
        })?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("it has no pipes"));
        };
        let running = Running {
            stdout,
            child,
            feeding: Some(tokio::spawn(feed(stdin, samples))),
        };
        let encoded = futures::stream::try_unfold(running, |mut running| async move {
            Ok(running.next().await?.map(|piece| (piece, running)))
        });
        Ok(encoded.boxed())
    }

    async fn check(&self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match command.status().await {
            Ok(status) if status.success() => Ok(()),
            _ => Err(no_encoder()),
        }
    }
}

/// Gives samples to the program until they end or it takes no more.
async fn feed(mut stdin: ChildStdin, mut samples: Pieces) -> Result<()> {
    while let Some(piece) = samples.try_next().await? {
        stdin.write_all(&piece).await.map_err(broken)?;
    }
    stdin.shutdown().await.map_err(broken)
}

struct Running {
    stdout: ChildStdout,
    child: Child,
    feeding: Option<JoinHandle<Result<()>>>,
}

impl Running {
    /// The next bytes, or nothing after a good end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let mut piece = BytesMut::with_capacity(READ_BYTES);
        if self.stdout.read_buf(&mut piece).await.map_err(broken)? > 0 {
            return Ok(Some(piece.freeze()));
        }
        // What broke the samples says more than how the program ended.
        if let Some(feeding) = self.feeding.take() {
            feeding.await.map_err(|_| failed("its samples broke off"))??;
        }
        match self.child.wait().await.map_err(broken)?.success() {
            true => Ok(None),
            false => Err(failed("it ended with an error")),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(feeding) = self.feeding.take() {
            feeding.abort();
        }
    }
}

fn broken(error: io::Error) -> VaultError {
    failed(&error.to_string())
}

fn failed(why: &str) -> VaultError {
    VaultError::Damaged {
        what: "MP3 encoder",
        reason: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_that_mp3_lacks_are_raised_to_the_next() {
        for (channels, rate, want) in [
            (1, 8_000, "-s 8.000 -m m --cbr -b 32 --resample 8.000"),
            (2, 8_000, "-s 8.000 -m j --cbr -b 64 --resample 8.000"),
            (1, 6_000, "-s 6.000 -m m --cbr -b 32 --resample 8.000"),
            (1, 11_025, "-s 11.025 -m m --cbr -b 32 --resample 11.025"),
            (2, 96_000, "-s 96.000 -m j --cbr -b 192 --resample 48.000"),
        ] {
            let shape = Shape {
                channels,
                sample_rate_hz: rate,
            };
            let all = arguments(shape).join(" ");
            assert!(all.contains(want), "{all}");
        }
    }

    #[tokio::test]
    async fn a_program_that_is_missing_or_fails_is_told_apart() {
        let shape = Shape {
            channels: 1,
            sample_rate_hz: 8_000,
        };
        let samples = || futures::stream::iter([Ok(Bytes::from(vec![0; 16_000]))]).boxed();
        let missing = Lame::new("/nonexistent/lame").encode(shape, samples()).await;
        assert!(matches!(missing, Err(VaultError::Refused(refusal)) if refusal.code == "no-mp3-encoder"));
        let failing = Lame::new("false").encode(shape, samples()).await.expect("it runs");
        let ended: Result<Vec<Bytes>> = failing.try_collect().await;
        assert!(ended.is_err());
        let source: Pieces = futures::stream::iter([Err(VaultError::NotFound { what: "recording" })]).boxed();
        let gone = Lame::new("cat").encode(shape, source).await;
        // `cat` refuses the arguments; what ended the samples is what is told.
        let ended: Result<Vec<Bytes>> = gone.expect("it runs").try_collect().await;
        assert!(matches!(ended, Err(VaultError::NotFound { what: "recording" })));
    }
}
