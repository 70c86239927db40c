//! Prompts: audio that call flows play.

pub mod audio;
pub mod body;
pub mod create;
pub mod delete;
pub mod list;
