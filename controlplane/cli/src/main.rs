//! `palisadectl`: the command line of Palisade. Calico's verbs and outputs, over gRPC with mutual TLS.
//!
//! Exit codes: 0 done; 1 error, permission or partial failure; 2 usage or validation; 3 difference, no match or denied;
//! 4 not converged; 5 conflict or already there; 6 not found; 7 unreachable.

#![forbid(unsafe_code)]

mod args;
mod client;
mod columns;
mod commands;
mod context;
mod failure;
mod input;
mod labels;
mod output;
mod problems;
mod status;
mod time;
mod unreadable;

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match args::Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Clap itself prints help and version to stdout with status 0, and errors to stderr.
            let code = if error.use_stderr() { 2 } else { 0 };
            drop(error.print());
            return ExitCode::from(code);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    match runtime.block_on(commands::run(args)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            failure.print();
            ExitCode::from(failure.code())
        }
    }
}
