//! What is wrong with documents, shown in their text.

use crate::{
    failure::Failure,
    input::{Inputs, Source},
};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};
use palisade_model::{Decoded, SourceSpan};
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
