//! The grammar of the command line.

mod explain;
mod plugin;
mod registered;
mod store;

pub(crate) use explain::Explain;
pub(crate) use plugin::Plugin;
pub(crate) use registered::{Identity, Namespace, NamespaceDefault};
pub(crate) use store::Store;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::{path::PathBuf, time::Duration};

/// Palisade: host protection by policy.
#[derive(Parser)]
#[command(
    name = "palisadectl",
    version,
    about,
    max_term_width = 110,
    after_help = "Exit codes: 0 done; 1 error, permission or partial failure; 2 usage or validation; 3 difference, \
        no match or denied; 4 not converged; 5 conflict or already there; 6 not found; 7 unreachable."
)]
pub(crate) struct Args {
    /// Context file that names the server and holds the credentials; the control plane writes `admin.yaml` at its first start.
    #[arg(long, env = "PALISADE_CONTEXT", global = true, value_name = "FILE")]
    pub(crate) context: Option<PathBuf>,
    /// How long a request may take, e.g. 500ms, 10s, 2m.
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create or replace every resource of the files, in one commit.
    Apply(Write),
    /// Create every resource of the files; none may exist.
    Create(Create),
    /// Replace every resource of the files; all must exist.
    Replace(Write),
    /// Show resources.
    Get(Get),
    /// Delete resources.
    Delete(Delete),
    /// Judge files offline: syntax, fields, values. Exit 0 or 2.
    Validate(Files),
    /// Try a selector on labels, or list what it picks. Exit 0 match, 3 no match, 2 invalid.
    Selector(Selector),
    /// Join tokens for nodes.
    #[command(subcommand)]
    Token(Token),
    /// Namespaces, as orchestrators register them: namespaceSelector sees their labels.
    #[command(subcommand)]
    Namespace(Namespace),
    /// Identities (service accounts) in namespaces: serviceAccounts of rules and serviceAccountSelector see them.
    #[command(subcommand)]
    Identity(Identity),
    /// Show what every node should enforce and does enforce.
    Nodes(Nodes),
    /// Show how the control plane is.
    Status(StatusArgs),
    /// Rows of the store that the control plane cannot read, and the way to give them up.
    #[command(subcommand)]
    Store(Store),
    /// Show what happens to packets, as nodes report it while there is an auditor, a plugin that reads it.
    Flows(Flows),
    /// Make, test and upload plugins, and see how they do.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Say what a node does with a new packet, and why. Exit 0 allowed, 3 denied.
    Explain(Explain),
    /// Print the version.
    Version,
}

/// Where resources are read from.
#[derive(ClapArgs)]
pub(crate) struct Files {
    /// File or folder of YAML or JSON; `-` reads standard input. May be given more than once.
    #[arg(short, long = "filename", required = true, value_name = "FILE|DIR|-")]
    pub(crate) filename: Vec<PathBuf>,
    /// Read folders recursively.
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Empty input is not an error.
    #[arg(long)]
    pub(crate) skip_empty: bool,
    /// Namespace of resources that name none, `default` unless given; a resource that names another is refused.
    #[arg(short, long, value_name = "NS")]
    pub(crate) namespace: Option<String>,
}

/// A write of files.
#[derive(ClapArgs)]
pub(crate) struct Write {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Check everything on the server, change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until every node enforces it, 30 s unless given; exit 4 when time runs out. A node that is not connected is
    /// waited for, too, unless the change leaves its view as it was.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
}

/// A creation of files.
#[derive(ClapArgs)]
pub(crate) struct Create {
    #[command(flatten)]
    pub(crate) write: Write,
    /// A resource that is already there is not an error.
    #[arg(long)]
    pub(crate) skip_exists: bool,
}

/// How resources are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Table.
    #[value(alias = "ps")]
    Table,
    /// Table with more columns.
    Wide,
    /// Kind/name, one a line.
    Name,
    /// YAML that `apply` reads.
    Yaml,
    /// JSON that `apply` reads.
    Json,
}

/// A request for resources.
#[derive(ClapArgs)]
pub(crate) struct Get {
    /// Kind, any case, singular, plural or short (gnp, np, sgnp, hep, wep, gns, felixconfig, …).
    pub(crate) kind: String,
    /// Names; none: all of the kind.
    pub(crate) names: Vec<String>,
    /// Namespace of a namespaced kind, `default` unless given.
    #[arg(short, long, value_name = "NS")]
    pub(crate) namespace: Option<String>,
    /// Every namespace.
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "names"])]
    pub(crate) all_namespaces: bool,
    /// Output.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Format,
    /// Without what only this cluster knows (uid, resourceVersion, creationTimestamp); only with a name.
    #[arg(long, requires = "names")]
    pub(crate) export: bool,
    /// Only resources whose labels match this selector.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
}

/// A request to delete.
#[derive(ClapArgs)]
pub(crate) struct Delete {
    /// Kind, any case, singular, plural or short.
    #[arg(required_unless_present = "filename")]
    pub(crate) kind: Option<String>,
    /// Names.
    #[arg(required_unless_present = "filename")]
    pub(crate) names: Vec<String>,
    /// Delete what these files name.
    #[arg(short, long, value_name = "FILE|DIR|-", conflicts_with_all = ["kind", "names"])]
    pub(crate) filename: Vec<PathBuf>,
    /// Read folders recursively.
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Namespace of a namespaced kind, `default` unless given.
    #[arg(short, long, value_name = "NS")]
    pub(crate) namespace: Option<String>,
    /// A resource that is not there is not an error.
    #[arg(long)]
    pub(crate) skip_not_exists: bool,
    /// Check on the server, change nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until every node enforces it, 30 s unless given; exit 4 when time runs out. A node that is not connected is
    /// waited for, too, unless the change leaves its view as it was.
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
}

/// A selector to try.
#[derive(ClapArgs)]
pub(crate) struct Selector {
    /// The expression.
    pub(crate) expression: String,
    /// Labels as `k=v,…` or as a JSON object; without them the server lists what the selector picks.
    #[arg(long)]
    pub(crate) labels: Option<String>,
}

/// What to do with tokens.
#[derive(Subcommand)]
pub(crate) enum Token {
    /// Make a single-use join token; prints only the token.
    Create {
        /// The node it is for; without it any node without a certificate may use it.
        #[arg(long)]
        node: Option<String>,
        /// How long it may be used, e.g. 10m, 1h.
        #[arg(long, default_value = "1h", value_parser = duration)]
        ttl: Duration,
    },
    /// Show tokens; secrets are not stored.
    List {
        /// Output.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Take a token back.
    Delete {
        /// Its id, the second part of the token.
        id: String,
    },
}

/// Which nodes to show.
#[derive(ClapArgs)]
pub(crate) struct Nodes {
    /// Names; none: all.
    pub(crate) names: Vec<String>,
    /// Output.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

/// How to show status.
#[derive(ClapArgs)]
pub(crate) struct StatusArgs {
    /// Output: table, yaml or json.
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

/// Which flows to show.
#[derive(ClapArgs)]
pub(crate) struct Flows {
    /// Go on with new ones.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Of this node only.
    #[arg(long, value_name = "NODE")]
    pub(crate) node: Option<String>,
    /// How many of the latest to begin with, at most 10000.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(crate) last: u32,
    /// Output: table (one line each) or json (one object a line).
    #[arg(short, long, value_enum, default_value = "table")]
    pub(crate) output: Format,
}

/// `500ms`, `10s`, `2m`, `1h`, `7d`, or plain seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let hint = || format!("`{text}` is not a time: write e.g. 500ms, 10s, 2m, 1h or 7d");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| hint())?;
    let millis = match &text[digits.len()..] {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        "d" => Some(86_400_000),
        _ => None,
    };
    millis
        .and_then(|m| number.checked_mul(m))
        .map(Duration::from_millis)
        .ok_or_else(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("7"), Ok(Duration::from_secs(7)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(duration("soon").is_err());
        assert!(duration("99999999999999999999d").is_err());
    }
}
