//! The grammar of what stands in the store.

use super::Format;
use clap::Subcommand;

/// What to do with rows of the store.
#[derive(Subcommand)]
pub(crate) enum Store {
    /// Show rows that the control plane cannot read, and those whose loss was accepted; json and yaml show their text, too.
    Unreadable {
        /// Output.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Accept the loss of rows that cannot be read: they are put aside, and nodes get views without them.
    AcceptUnreadable {
        /// Keys, as `palisadectl status` and `palisadectl store unreadable` show them.
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
        /// Say what it would cost, change nothing.
        #[arg(long)]
        dry_run: bool,
    },
}
