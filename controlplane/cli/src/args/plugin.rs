//! The grammar of work on plugins.

use super::Format;
use clap::{Subcommand, ValueEnum};
use std::path::PathBuf;

/// What to do with plugins.
#[derive(Subcommand)]
pub(crate) enum Plugin {
    /// Make a project of this name, in a folder of this name.
    New {
        /// Language of the project.
        #[arg(long, value_enum, default_value = "rust")]
        lang: Language,
        /// Lower-case letters, digits and `-`.
        name: String,
    },
    /// Build the project's component and verify it; prints its file and its digest.
    Build {
        /// Folder of the project.
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Show what a component is, without running it. Exit 2: it would be refused.
    Inspect {
        /// The component.
        file: PathBuf,
        /// Output.
        #[arg(short, long, value_enum, default_value = "yaml")]
        output: Format,
    },
    /// Judge the packets of fixtures, with the engine and limits of a node. Exit 1: some answer is another.
    Test {
        /// Folder of the project, which is built first.
        #[arg(default_value = ".")]
        dir: PathBuf,
        /// Test this component; nothing is built.
        #[arg(long, value_name = "FILE")]
        component: Option<PathBuf>,
        /// Fixtures, or folders of them; the project's `fixtures` unless given.
        #[arg(long, value_name = "FILE|DIR")]
        fixtures: Vec<PathBuf>,
    },
    /// Upload a component; prints its digest.
    Push {
        /// The component, or the folder of a project, which is built first.
        #[arg(default_value = ".")]
        file: PathBuf,
        /// Let the Plugin of this name run it; it is made where there is none.
        #[arg(long)]
        name: Option<String>,
    },
    /// Show the components that are stored.
    List {
        /// Output.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
    /// Show how plugins do on the nodes.
    Status {
        /// Names of plugins; none: all.
        names: Vec<String>,
        /// Output.
        #[arg(short, long, value_enum, default_value = "table")]
        output: Format,
    },
}

/// Languages that projects are made in.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust.
    Rust,
}
