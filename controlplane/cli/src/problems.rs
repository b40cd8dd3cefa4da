//! What is wrong with documents, shown in their text: as found here, and as found by the server.

use crate::{
    failure::{self, Failure},
    input::{Input, Inputs, Source},
};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};
use palisade_model::{Decoded, FieldPath, Part, Segment, SourceSpan};
use std::io::IsTerminal as _;

/// Decodes and validates every document; prints every problem in its place, and warnings of the model.
pub(crate) fn decode(inputs: &Inputs) -> Result<Vec<Decoded>, Failure> {
    let mut decoded = Vec::with_capacity(inputs.documents.len());
    let mut broken = 0;
    for input in &inputs.documents {
        match palisade_model::decode_document(&input.document) {
            Ok(resource) => decoded.push(resource),
            Err(problems) => {
                broken += problems.len();
                if let Some(source) = inputs.sources.get(input.source) {
                    for problem in &problems {
                        let place = input.document.locate(problem, &source.text);
                        show(source, &problem.to_string(), place);
                    }
                }
            }
        }
    }
    if broken > 0 {
        Err(failure(broken))
    } else {
        Ok(decoded)
    }
}

/// What the server says of documents that it was sent together: every violation is shown in the text of its document;
/// those that are about something else stay in the failure.
pub(crate) fn refused(inputs: &Inputs, sent: &[Input], status: tonic::Status) -> Failure {
    let violations = failure::violations(&status);
    let mut shown = 0;
    let mut elsewhere = String::new();
    for (field, description) in &violations {
        let found = place(field, sent).and_then(|(input, path)| {
            let source = inputs.sources.get(input.source)?;
            Some((source, path.clone(), span_of(input, &path, &source.text)))
        });
        match found {
            Some((source, path, span)) => {
                shown += 1;
                show(source, &format!("{path}: {description}"), span);
            }
            None => elsewhere.push_str(&format!("\n  {field}: {description}")),
        }
    }
    if shown == 0 {
        return status.into();
    }
    let summary = match violations.len() {
        1 => "1 problem found".to_owned(),
        _ => status.message().to_owned(),
    };
    Failure::from(status).saying(format!("{summary}; nothing was changed{elsewhere}"))
}

/// The document that a violation is about, and the field in it. The server counts documents where there are several.
fn place<'a>(field: &str, sent: &'a [Input]) -> Option<(&'a Input, FieldPath)> {
    let path: FieldPath = field.parse().ok()?;
    let (input, path) = match (path.0.as_slice(), sent) {
        ([Segment::Key(json), Segment::Index(index), inside @ ..], _) if json == "json" => {
            (sent.get(*index)?, FieldPath(inside.to_vec()))
        }
        (_, [only]) => (only, path),
        _ => return None,
    };
    // Not every subject of a violation is a field: some are names.
    let root = path.0.first();
    let is_field = |key: &str| root.is_some_and(|root| *root == Segment::Key(key.to_owned()));
    ["apiVersion", "kind", "metadata", "spec"]
        .into_iter()
        .any(is_field)
        .then_some((input, path))
}

fn span_of(input: &Input, path: &FieldPath, text: &str) -> SourceSpan {
    input.document.locate_field(path, Part::Value, None, text)
}

/// So many problems; nothing was sent.
pub(crate) fn failure(count: usize) -> Failure {
    Failure::invalid(format!(
        "{count} problem{} found; nothing was changed",
        if count == 1 { "" } else { "s" }
    ))
}

/// One problem with a caret under its place.
pub(crate) fn show(source: &Source, message: &str, place: SourceSpan) {
    let end = place.offset + place.length.max(1);
    let diagnostic =
        MietteDiagnostic::new(message).with_label(LabeledSpan::underline(place.offset..end));
    let report = Report::from(diagnostic)
        .with_source_code(NamedSource::new(&source.name, source.text.clone()));
    let theme = if std::io::stderr().is_terminal() {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::none()
    };
    let mut text = String::new();
    if GraphicalReportHandler::new_themed(theme)
        .render_report(&mut text, report.as_ref())
        .is_err()
    {
        text = format!("{}: {message}\n", source.name);
    }
    eprint!("{text}");
}
