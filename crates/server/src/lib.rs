//! The doors of Callvault: HTTP API and command line. What they do is done by `callvault_app`.

pub mod access;
pub mod api;
pub mod attempts;
pub mod batch;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cookie;
pub mod courier;
pub mod demo;
pub mod destinations;
pub mod directory;
pub mod door;
pub mod lame;
pub mod metrics;
pub mod passwords;
pub mod people;
pub mod problem;
pub mod rates;
pub mod serve;
pub mod site;
pub mod tls;
pub mod work;
