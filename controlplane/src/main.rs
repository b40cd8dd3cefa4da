//! `palisade-controlplane`: see `--help`.

use anyhow::Context as _;
use clap::Parser as _;
use palisade_controlplane::{config::Config, server::Server};
use std::io::IsTerminal as _;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(
            config
                .log
                .parse::<tracing_subscriber::EnvFilter>()
                .context("--log")?,
        )
        .init();
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(run(config))
}

async fn run(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let mut server = Server::start(&config).await?;
    server.ready().await?;
    tracing::info!(
        api = %server.addresses().api,
        enrollment = %server.addresses().enrollment,
        http = %server.addresses().http,
        "ready"
    );
    // Without a service manager there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        failed = server.failed() => Err(failed),
    };
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    server.stop().await;
    tracing::info!("stopped");
    ended
}
