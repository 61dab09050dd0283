//! Nodes of one process over the memory bus, as stories. The clock is paused: time passes when everybody waits.

mod bench;
mod commands;
mod interest;
mod loss;
mod members;
mod recovery;
mod requests;
mod security;
