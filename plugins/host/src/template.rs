//! What `palisadectl plugin new` writes: a project that builds by itself, with the SDK and the contract in it.

/// A file of a new project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where, from the project's folder, with `/`.
    pub path: &'static str,
    /// Its text.
    pub text: String,
}

/// A name that a project cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` cannot name a plugin: use 1 to 63 lower-case letters, digits and `-`, beginning with a letter, with no `-` at the end; not `palisade-plugin`, which is the SDK"
)]
pub struct NameError {
    name: String,
}

/// The crate of the SDK, which is in every project: no two may have one name.
const SDK: &str = "palisade-plugin";

/// Where the text of the template has the project's name.
const NAME: &str = "{{name}}";

macro_rules! files {
    ($($path:literal = $source:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../", $source)))),*]
    };
}

/// Path in the project, and content.
const RUST: [(&str, &str); 16] = files! {
    ".gitignore" = "templates/rust/gitignore",
    "Cargo.toml" = "templates/rust/Cargo.toml",
    "plugin.yaml" = "templates/rust/plugin.yaml",
    "src/lib.rs" = "templates/rust/src/lib.rs",
    "fixtures/ports.yaml" = "templates/rust/fixtures/ports.yaml",
    "palisade/wit/palisade.wit" = "wit/palisade.wit",
    "palisade/sdk/Cargo.toml" = "sdk/Cargo.toml",
    "palisade/sdk/src/lib.rs" = "sdk/src/lib.rs",
    "palisade/sdk/src/address.rs" = "sdk/src/address.rs",
    "palisade/sdk/src/auditor.rs" = "sdk/src/auditor.rs",
    "palisade/sdk/src/bindings.rs" = "sdk/src/bindings.rs",
    "palisade/sdk/src/matcher.rs" = "sdk/src/matcher.rs",
    "palisade/sdk/src/node.rs" = "sdk/src/node.rs",
    "palisade/sdk/src/settings.rs" = "sdk/src/settings.rs",
    "palisade/sdk/src/sinks.rs" = "sdk/src/sinks.rs",
    "palisade/sdk/src/state.rs" = "sdk/src/state.rs",
};

/// The files of a new matcher in Rust.
///
/// # Errors
///
/// Where the name is none.
pub fn rust(name: &str) -> Result<Vec<File>, NameError> {
    if !crate::manifest::is_name(name) || name == SDK {
        return Err(NameError {
            name: name.chars().take(80).collect(),
        });
    }
    let file = |(path, text): (&'static str, &str)| File {
        path,
        text: text.replace(NAME, name),
    };
    Ok(RUST.into_iter().map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_sdk_is_in_the_template() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/src");
        for entry in std::fs::read_dir(folder).expect("the SDK") {
            let name = entry.expect("an entry").file_name();
            let path = format!("palisade/sdk/src/{}", name.to_string_lossy());
            assert!(RUST.iter().any(|(listed, _)| *listed == path), "{path}");
        }
    }

    #[test]
    fn the_name_is_everywhere_it_belongs() {
        let files = rust("my-plugin").expect("a name");
        assert!(files.iter().all(|file| !file.text.contains(NAME)));
        let named = files
            .iter()
            .filter(|file| file.text.contains("name: my-plugin"));
        assert_eq!(named.count(), 1);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "a".repeat(64);
        for name in [
            "",
            "My-Plugin",
            "9lives",
            "../x",
            "a b",
            "a-",
            "palisade-plugin",
            &long,
        ] {
            assert!(rust(name).is_err(), "{name}");
        }
    }
}
