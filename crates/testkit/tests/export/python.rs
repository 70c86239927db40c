//! Reads exports with Python's own `csv` and `json`, with PyArrow and with DuckDB.

#[path = "../../../seal/tests/python/mod.rs"]
mod found;

use std::{path::PathBuf, process::Command};

const SCRIPT: &str = include_str!("same_rows.py");

/// Fails unless the CSV, NDJSON, JSON and Parquet files hold the same rows, this many of them.
pub(crate) fn same_rows(files: &[PathBuf], rows: usize) {
    let done = Command::new(found::python_with("pyarrow, duckdb", "pyarrow duckdb"))
        .args(["-c", SCRIPT])
        .args(files)
        .arg(rows.to_string())
        .output()
        .expect("Python runs");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");
}
