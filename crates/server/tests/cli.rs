//! The command line, as operators and their scripts meet it: the real binary, in folders of its own.

#![allow(clippy::expect_used, clippy::panic, reason = "a test ends here when it fails")]

#[path = "cli/acme.rs"]
mod acme;
#[path = "cli/addresses.rs"]
mod addresses;
#[path = "cli/calls/mod.rs"]
mod calls;
#[path = "cli/contract.rs"]
mod contract;
#[path = "cli/demo.rs"]
mod demo;
#[path = "cli/doors.rs"]
mod doors;
#[path = "cli/ends.rs"]
mod ends;
#[path = "cli/export.rs"]
mod export;
#[path = "cli/first_hour.rs"]
mod first_hour;
#[path = "cli/growing.rs"]
mod growing;
#[path = "cli/hell.rs"]
mod hell;
#[path = "cli/import.rs"]
mod import;
#[path = "cli/keeping.rs"]
mod keeping;
#[path = "cli/killed.rs"]
mod killed;
#[path = "cli/people.rs"]
mod people;
#[path = "cli/requests.rs"]
mod requests;
#[path = "cli/running.rs"]
mod running;
#[path = "cli/safety.rs"]
mod safety;
#[path = "cli/serving.rs"]
mod serving;
#[path = "cli/watch.rs"]
mod watch;
