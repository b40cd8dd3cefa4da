//! `palisadectl plugin`: from nothing to a plugin that nodes run.

mod build;
mod component;
mod new;
mod push;
mod show;
mod test;

use crate::{
    args::{Args, Plugin},
    failure::Failure,
};

pub(super) async fn run(args: &Args, plugin: &Plugin) -> Result<u8, Failure> {
    match plugin {
        Plugin::New { lang: _, name } => new::run(name),
        Plugin::Build { dir } => build::run(dir),
        Plugin::Inspect { file, output } => component::inspect(file, *output),
        Plugin::Test {
            dir,
            component,
            fixtures,
        } => test::run(dir, component.as_deref(), fixtures),
        Plugin::Push { file, name } => push::run(args, file, name.as_deref()).await,
        Plugin::List { output } => show::list(args, *output).await,
        Plugin::Status { names, output } => show::status(args, names, *output).await,
    }
}
