//! A Python that has the packages a test needs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// `python3` if it has the module, or else one in a virtual environment under `target/` into which `package` is
/// installed. Fails when neither can be had.
pub(crate) fn python_with(module: &str, package: &str) -> PathBuf {
    let system = PathBuf::from("python3");
    if has(&system, module) {
        return system;
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(directory).unwrap();
    // Tests run side by side, in one process or in several.
    let lock = fs::File::create(directory.join("venv.lock")).unwrap();
    lock.lock().unwrap();
    let venv = directory.join("venv");
    let python = venv.join("bin/python");
    if !python.exists() {
        done(
            Command::new("python3")
                .arg("-m")
                .arg("venv")
                .arg(&venv)
                .output()
                .expect("python3 must be installed"),
        );
    }
    if !has(&python, module) {
        done(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", package])
                .output()
                .unwrap(),
        );
    }
    assert!(has(&python, module), "no Python with {module}");
    python
}

fn has(python: &Path, module: &str) -> bool {
    Command::new(python)
        .arg("-c")
        .arg(format!("import {module}"))
        .output()
        .is_ok_and(|run| run.status.success())
}

fn done(run: Output) {
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// The repository's root.
#[allow(dead_code, reason = "not every test that includes this module needs it")]
pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}
