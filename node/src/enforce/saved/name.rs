//! Names of the files that hold views. Their order is that of the views, oldest first.

use std::fmt;

/// A file that holds a view.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Name {
    /// Of the layout without numbers.
    Earlier(Earlier),
    /// A generation. Numbers are not used again.
    Numbered(u64, Stage),
}

/// How far a generation came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Stage {
    /// `next.<n>`: begun.
    Next,
    /// `view.<n>`: its snapshot was acknowledged.
    View,
}

/// The names of the layout without numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Earlier {
    /// The generation before.
    Previous,
    /// The last acknowledged snapshot.
    Current,
    /// A snapshot that was begun.
    Next,
}

// === impl Name ===

impl Name {
    /// None: it holds no view.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (stage, number) = text.split_once('.')?;
        let stage = [Stage::Next, Stage::View]
            .into_iter()
            .find(|known| known.text() == stage)?;
        let name = Self::Numbered(number.parse().ok()?, stage);
        // One number, one name: `view.7`, not `view.007`.
        (name.to_string() == text).then_some(name)
    }

    /// Whether the name itself says that the snapshot was acknowledged.
    pub(super) fn is_acknowledged(self) -> bool {
        match self {
            Self::Earlier(earlier) => earlier != Earlier::Next,
            Self::Numbered(_, stage) => stage == Stage::View,
        }
    }

    /// The name of the same file once its snapshot is acknowledged.
    pub(super) fn acknowledged(self) -> Self {
        match self {
            Self::Earlier(_) => self,
            Self::Numbered(number, _) => Self::Numbered(number, Stage::View),
        }
    }

    pub(super) fn number(self) -> Option<u64> {
        match self {
            Self::Earlier(_) => None,
            Self::Numbered(number, _) => Some(number),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earlier(earlier) => f.write_str(earlier.text()),
            Self::Numbered(number, stage) => write!(f, "{}.{number}", stage.text()),
        }
    }
}

// === impl Stage ===

impl Stage {
    fn text(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::View => "view",
        }
    }
}

// === impl Earlier ===

impl Earlier {
    pub(super) const ALL: [Self; 3] = [Self::Previous, Self::Current, Self::Next];

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Previous => "previous",
            Self::Current => "current",
            Self::Next => "next",
        }
    }
}
