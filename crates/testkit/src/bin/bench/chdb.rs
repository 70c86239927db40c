//! chDB beside us: a Python process with chDB from PyPI.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{calls::Corpus, report::Results};

const SCRIPT: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../benches/chdb_peer.py"));

/// A Python that has chDB: the one in `CALLVAULT_BENCH_PYTHON`, or a virtual environment made here.
fn find_python(folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(python) = std::env::var_os("CALLVAULT_BENCH_PYTHON") {
        return Ok(python.into());
    }
    let environment = folder.join("python");
    let python = environment.join("bin/python");
    eprintln!("installing chDB from PyPI ...");
    let made = Command::new("python3")
        .args(["-m", "venv"])
        .arg(&environment)
        .status()?;
    let installed = made.success()
        && Command::new(&python)
            .args(["-m", "pip", "install", "-q", "chdb"])
            .status()?
            .success();
    if installed {
        Ok(python)
    } else {
        Err("chDB cannot be installed: set CALLVAULT_BENCH_PYTHON to a Python that has it".into())
    }
}

/// Loads the same rows into chDB and measures it.
pub(crate) fn measure(
    folder: &Path,
    corpus: &Corpus,
    rows: u64,
    (thousand, million): (&Path, &Path),
    results: &mut Results,
) -> Result<(), Box<dyn Error>> {
    let python = find_python(folder)?;
    let (script, config, place) = (
        folder.join("chdb_peer.py"),
        folder.join("chdb.json"),
        folder.join("chdb"),
    );
    fs::write(&script, SCRIPT)?;
    let large = crate::large(corpus);
    let small = crate::small(corpus);
    let texts = |account: &crate::calls::Account| -> Vec<String> {
        account
            .sample(crate::NUMBERS)
            .iter()
            .map(|number| number.as_str().to_owned())
            .collect()
    };
    let body = json!({
        "dir": place, "rows": rows, "parts": folder.join("peer/part*.csv"), "thousand": thousand, "million": million,
        "smallest": crate::smallest(corpus).iter().map(|account| account.name.clone()).collect::<Vec<_>>(),
        "large": { "account": large.name, "numbers": texts(large) },
        "small": { "account": small.name, "numbers": texts(small) },
        "heavy": large.subscriber(0).as_str(),
    });
    fs::write(&config, serde_json::to_vec(&body)?)?;
    let done = Command::new(python)
        .arg(&script)
        .arg(&config)
        .stderr(Stdio::inherit())
        .output()?;
    if !done.status.success() {
        return Err("the chDB process failed".into());
    }
    let text = String::from_utf8(done.stdout)?;
    let figures: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    for (name, value) in figures.as_object().into_iter().flatten() {
        match value.as_f64() {
            Some(value) => results.put(format!("chdb.{name}"), value),
            None => eprintln!("  chdb {name} {value}"),
        }
    }
    Ok(fs::remove_dir_all(place)?)
}
