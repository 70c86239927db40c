//! A Python that has the packages a test needs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

/// The Python of `CALLVAULT_TEST_PYTHON` or `python3` if it has the module, or else one in a virtual environment under
/// `target/` into which `package` is installed. Fails when none can be had. Looks once in a process.
pub(crate) fn python_with(module: &str, package: &str) -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| find_python(module, package)).clone()
}

fn find_python(module: &str, package: &str) -> PathBuf {
    let given = env::var_os("CALLVAULT_TEST_PYTHON").map(PathBuf::from);
    if let Some(ready) = given
        .into_iter()
        .chain(["python3".into()])
        .find(|python| has(python, module))
    {
        return ready;
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
                .args(["-m", "pip", "install", "--quiet"])
                .args(package.split_whitespace())
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
