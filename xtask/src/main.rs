//! Checks of the workspace itself: `cargo run -p xtask -- arch`.

use std::{collections::BTreeMap, process::ExitCode};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Who may know whom. Development dependencies are free, except that nobody ships `testkit`.
const ALLOWED: &[(&str, &[&str])] = &[
    ("callvault-core", &[]),
    ("callvault-seal", &[]),
    ("callvault-store", &["callvault-core"]),
    (
        "callvault-app",
        &["callvault-core", "callvault-seal", "callvault-store"],
    ),
    ("callvault-voice", &["callvault-app"]),
    ("callvault-server", &["callvault-app", "callvault-voice"]),
    (
        "callvault-testkit",
        &["callvault-app", "callvault-core", "callvault-seal", "callvault-store"],
    ),
    ("xtask", &[]),
];

/// Crates that a crate must not reach for, with the reason.
const BANNED: &[(&str, &[&str], &str)] = &[
    (
        "callvault-core",
        &["tokio", "tracing", "sqlx", "object_store", "ring", "async-trait"],
        "core is pure",
    ),
    (
        "callvault-seal",
        &["tokio", "sqlx", "object_store"],
        "seal does no I/O but for its key files and tokens",
    ),
    (
        "callvault-app",
        &["axum", "sqlx", "object_store", "clap"],
        "app knows neither doors nor SQL",
    ),
    ("callvault-server", &["sqlx", "object_store"], "server goes through app"),
];

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("arch") => check_architecture(),
        _ => {
            eprintln!("usage: cargo run -p xtask -- arch");
            ExitCode::from(2)
        }
    }
}

fn check_architecture() -> ExitCode {
    let metadata = match MetadataCommand::new().no_deps().exec() {
        Ok(metadata) => metadata,
        Err(error) => {
            eprintln!("cargo metadata failed: {error}");
            return ExitCode::FAILURE;
        }
    };
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        let Some(may_know) = allowed.get(name) else {
            faults.push(format!("{name} is a crate that the architecture does not know"));
            continue;
        };
        for dependency in package
            .dependencies
            .iter()
            .filter(|it| it.kind != DependencyKind::Development)
        {
            let other = dependency.name.as_str();
            if allowed.contains_key(other) && !may_know.contains(&other) {
                faults.push(format!("{name} -> {other} is not an arrow of the architecture"));
            }
            for (_, names, reason) in BANNED.iter().filter(|rule| rule.0 == name && rule.1.contains(&other)) {
                faults.push(format!("{name} -> {other}: {reason} ({} are banned)", names.join(", ")));
            }
        }
    }
    for fault in &faults {
        eprintln!("architecture: {fault}");
    }
    if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
