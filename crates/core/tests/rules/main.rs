//! The rules of `callvault-core` against plain definitions of them, and as a whole in a small simulated vault.

mod changes;
mod deletion;
mod model;
mod planning;
mod proofs;
mod purging;
mod retention;
mod vault;
