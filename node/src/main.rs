//! `palisade-node`: reads the command line, sets up logs and the runtime, and hands over.

use anyhow::{Context, Result};
use clap::Parser;
use palisade_netfilter::Netfilter;
use palisade_node::{
    arguments::{Arguments, Command, Uninstall},
    enforce, guard, log, run,
};
use std::{io::IsTerminal, process::ExitCode, time::Duration};

/// How long the end of the process waits for its log to be written.
const LOG: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let code = match perform(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            log::stderr().put(format!("error: {err:#}\n").as_bytes());
            ExitCode::FAILURE
        }
    };
    log::stderr().settle(LOG);
    code
}

fn perform(arguments: Arguments) -> Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(log::stderr)
        .init();
    match arguments.command {
        Command::Run(arguments) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime")?
            .block_on(run::run(arguments)),
        Command::Guard(arguments) => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .context("start the runtime")?;
            let done = runtime.block_on(guard::guard(&arguments))?;
            println!("{done}");
            Ok(())
        }
        Command::Uninstall(arguments) => uninstall(&arguments),
        Command::Version => {
            println!("palisade-node {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

fn uninstall(arguments: &Uninstall) -> Result<()> {
    let mut kernel = Netfilter::open().context("open a netfilter socket")?;
    if enforce::uninstall(&mut kernel).context("remove our tables")? {
        println!("tables removed; nothing is enforced");
    } else {
        println!("no tables of ours");
    }
    if let (true, Some(dir)) = (arguments.purge, &arguments.state_dir) {
        enforce::purge(dir).with_context(|| format!("purge `{}`", dir.display()))?;
        println!("`{}` removed", dir.display());
    }
    Ok(())
}
