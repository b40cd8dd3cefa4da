//! One file per verb. Each returns the exit code of its success, or a failure.

mod delete;
mod explain;
mod flows;
mod get;
mod identity;
mod namespace;
mod nodes;
mod plugin;
mod selector;
mod store;
mod token;
mod validate;
mod wait;
mod write;

use crate::{
    args::{Args, Command},
    failure::Failure,
};

/// Runs the command.
pub(crate) async fn run(args: Args) -> Result<u8, Failure> {
    match &args.command {
        Command::Apply(write) => write::apply(&args, write).await,
        Command::Create(create) => write::create(&args, create).await,
        Command::Replace(write) => write::replace(&args, write).await,
        Command::Get(get) => get::run(&args, get).await,
        Command::Delete(delete) => delete::run(&args, delete).await,
        Command::Validate(files) => validate::run(files),
        Command::Selector(selector) => selector::run(&args, selector).await,
        Command::Token(token) => token::run(&args, token).await,
        Command::Namespace(namespace) => namespace::run(&args, namespace).await,
        Command::Identity(identity) => identity::run(&args, identity).await,
        Command::Nodes(nodes) => nodes::nodes(&args, nodes).await,
        Command::Status(status) => nodes::status(&args, status).await,
        Command::Store(store) => store::run(&args, store).await,
        Command::Flows(flows) => flows::run(&args, flows).await,
        Command::Plugin(plugin) => plugin::run(&args, plugin).await,
        Command::Explain(explain) => explain::run(&args, explain).await,
        Command::Version => {
            println!("palisadectl {}", env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
    }
}
