//! Why a command ended badly: what is printed, and the exit code.

use tonic::Code;
use tonic_types::StatusExt as _;

/// A command that ended badly.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl Failure {
    fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
        }
    }

    /// Error, permission or partial failure.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// Wrong usage, or a document that is not valid.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(2, message)
    }

    /// Not every node enforces it.
    pub(crate) fn not_converged(message: impl Into<String>) -> Self {
        Self::new(4, message)
    }

    /// No such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(6, message)
    }

    /// Nobody answers.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(7, message)
    }

    /// One sentence on what to do about it.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Another message, with the same code and hint.
    #[must_use]
    pub(crate) fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// In front of the message.
    #[must_use]
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    /// The exit code.
    pub(crate) const fn code(&self) -> u8 {
        self.code
    }

    /// Whether the resource is already there, or has changed meanwhile.
    pub(crate) const fn is_conflict(&self) -> bool {
        self.code == 5
    }

    /// Whether there is no such thing.
    pub(crate) const fn is_not_found(&self) -> bool {
        self.code == 6
    }

    /// To standard error: the message, then the hint.
    pub(crate) fn print(&self) {
        eprintln!("error: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("hint: {hint}");
        }
    }
}

/// What a status says is wrong, one by one: the field or the resource, and what is wrong with it.
pub(crate) fn violations(status: &tonic::Status) -> Vec<(String, String)> {
    let details = status.get_error_details();
    let fields = details.bad_request().into_iter().flat_map(|request| {
        let found = request.field_violations.iter();
        found.map(|one| (one.field.clone(), one.description.clone()))
    });
    let preconditions = details.precondition_failure().into_iter();
    let preconditions = preconditions.flat_map(|failure| {
        let found = failure.violations.iter();
        found.map(|one| (one.subject.clone(), one.description.clone()))
    });
    fields.chain(preconditions).collect()
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        let code = match status.code() {
            Code::InvalidArgument | Code::FailedPrecondition => 2,
            Code::Aborted | Code::AlreadyExists => 5,
            Code::NotFound => 6,
            Code::Unavailable | Code::DeadlineExceeded => 7,
            _ => 1,
        };
        let mut message = status.message().to_owned();
        for (field, description) in violations(&status) {
            // The server's message already carries a single violation's text.
            if !message.contains(&description) {
                message.push_str(&format!("\n  {field}: {description}"));
            }
        }
        let failure = Self::new(code, message);
        match status.code() {
            Code::Unavailable => failure.hint("is the control plane running, and does the context name its address?"),
            Code::Unauthenticated => failure.hint("the control plane does not know this certificate: is it the context of this control plane?"),
            Code::PermissionDenied => failure.hint("this identity may not do that: use a context with another role"),
            _ => failure,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::error(format!("{error:#}"))
    }
}
