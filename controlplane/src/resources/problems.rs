//! Refusals with their fields: `google.rpc.BadRequest`, and where a fault has a place inside a string, `SourceSpan`.

use palisade_model::{Problem, Unenforced};
use palisade_proto::{google::rpc, v1::SourceSpan};
use prost::Message as _;
use std::collections::HashMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, PreconditionViolation, StatusExt as _};

/// The most violations that travel: headers have a limit.
const MOST: usize = 50;
/// Length of a description, in characters, before it is cut.
const LONGEST: usize = 300;

/// A field of one document, or of several.
pub(super) fn field(document: Option<usize>, path: &str) -> String {
    match (document, path) {
        (None, path) => path.to_owned(),
        (Some(index), "") => format!("json[{index}]"),
        (Some(index), path) => format!("json[{index}].{path}"),
    }
}

/// What is wrong with documents, each problem with the index of its document where there are several.
pub(super) fn invalid(problems: &[(Option<usize>, Problem)]) -> Status {
    invalid_and(problems, Vec::new())
}

/// As [`invalid`], and conditions that do not hold besides.
pub(super) fn invalid_and(
    problems: &[(Option<usize>, Problem)],
    violations: Vec<PreconditionViolation>,
) -> Status {
    let count = problems.len() + violations.len();
    let shown = || problems.iter().take(MOST);
    let fields: Vec<FieldViolation> = shown()
        .map(|(document, problem)| {
            let path = field(*document, &problem.path.to_string());
            FieldViolation::new(path, cut(&problem.message))
        })
        .collect();
    let spans: Vec<SourceSpan> = shown()
        .filter_map(|(document, problem)| {
            let span = problem.span?;
            Some(SourceSpan {
                field: field(*document, &problem.path.to_string()),
                offset: u32::try_from(span.offset).ok()?,
                length: u32::try_from(span.length).ok()?,
            })
        })
        .collect();
    let message = match problems {
        [(_, only)] if count == 1 => cut(&only.to_string()),
        _ => format!("{count} problems"),
    };
    let mut details = ErrorDetails::with_bad_request(fields);
    if !violations.is_empty() {
        details.set_precondition_failure(violations.into_iter().take(MOST).collect::<Vec<_>>());
    }
    with_spans(
        Status::with_error_details(Code::InvalidArgument, message, details),
        &spans,
    )
}

/// One fault that is not the model's.
pub(super) fn invalid_field(path: String, message: &str) -> Status {
    let details = ErrorDetails::with_bad_request(vec![FieldViolation::new(path.clone(), message)]);
    Status::with_error_details(Code::InvalidArgument, format!("{path}: {message}"), details)
}

fn with_spans(status: Status, spans: &[SourceSpan]) -> Status {
    let Ok(mut message) = rpc::Status::decode(status.details()) else {
        return status;
    };
    for span in spans {
        message.details.push(prost_types::Any {
            type_url: "type.googleapis.com/palisade.v1.SourceSpan".to_owned(),
            value: span.encode_to_vec(),
        });
    }
    Status::with_details(
        status.code(),
        status.message(),
        message.encode_to_vec().into(),
    )
}

/// What this build does not enforce.
pub(super) fn not_enforced(found: &[(Option<usize>, Unenforced)]) -> Status {
    let violations = found.iter().take(MOST).map(|(document, unenforced)| {
        let path = field(*document, &unenforced.path.to_string());
        PreconditionViolation::new("UNENFORCED", path, unenforced.reason)
    });
    precondition(violations.collect())
}

/// Conditions that do not hold: kind, field or resource, description.
pub(super) fn precondition(violations: Vec<PreconditionViolation>) -> Status {
    let message = match violations.as_slice() {
        [only] => format!("{}: {}", only.subject, only.description),
        _ => format!("{} preconditions do not hold", violations.len()),
    };
    let details = ErrorDetails::with_precondition_failure(violations);
    Status::with_error_details(Code::FailedPrecondition, message, details)
}

/// The resource is not the version that the writer saw.
pub(super) fn conflict(resource: &str, given: &str, current: &str) -> Status {
    let metadata = HashMap::from([("current_resource_version".to_owned(), current.to_owned())]);
    let details = ErrorDetails::with_error_info("CONFLICT", "palisade.dev", metadata);
    let message = format!("{resource} is at resourceVersion `{current}`, not at `{given}`");
    Status::with_error_details(Code::Aborted, message, details)
}

/// The resource is missing, or there already.
pub(super) fn about(code: Code, kind: &str, name: &str, message: String) -> Status {
    let details = ErrorDetails::with_resource_info(kind, name, "", message.clone());
    Status::with_error_details(code, message, details)
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}
