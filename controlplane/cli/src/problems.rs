//! What is wrong with documents, shown in their text: as found here, and as found by the server.

use crate::{
    failure::{self, Failure},
    input::{Input, Inputs, Source},
};
use miette::{
    GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource, Report,
};
use palisade_model::{Decoded, FieldPath, Part, Segment, SourceSpan};
use std::{io::IsTerminal as _, ops::Range};

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
                    for problem in problems.iter().take(SHOWN) {
                        let place = input.document.locate(problem, &source.text);
                        show(source, &problem.to_string(), place);
                    }
                    not_shown(source, problems.len());
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

/// Problems of one document that are shown; each has a picture of some lines.
const SHOWN: usize = 20;

/// Says how many of a document's problems are not shown.
fn not_shown(source: &Source, problems: usize) {
    if let Some(more @ 1..) = problems.checked_sub(SHOWN) {
        eprintln!("{}: and {more} more of this document", source.name);
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
                if shown <= SHOWN {
                    show(source, &format!("{path}: {description}"), span);
                }
            }
            None => elsewhere.push_str(&format!("\n  {field}: {description}")),
        }
    }
    if shown == 0 {
        return status.into();
    }
    let summary = match violations.len() {
        1 => "1 problem found".to_owned(),
        _ if shown > SHOWN => format!("{} ({SHOWN} of {shown} are shown)", status.message()),
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

/// Bytes of a line that are shown at most: a list of thousands may be one line.
const WIDTH: usize = 160;
/// How many of them are before the place.
const BEFORE: usize = 40;
/// Lines that are underlined at most.
const LINES: usize = 8;

/// One problem with a caret under its place.
pub(crate) fn show(source: &Source, message: &str, place: SourceSpan) {
    let theme = if std::io::stderr().is_terminal() {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::none()
    };
    eprint!("{}", picture(source, message, place, theme));
}

fn picture(source: &Source, message: &str, place: SourceSpan, theme: GraphicalTheme) -> String {
    let (line, column) = place.line_column(&source.text);
    let (excerpt, shown) = excerpt(&source.text, place);
    let diagnostic = MietteDiagnostic::new(message).with_label(LabeledSpan::underline(shown));
    // The place in the whole text: in the excerpt it may be another.
    let name = format!("{}:{line}:{column}", source.name);
    let report =
        Report::from(diagnostic).with_source_code(NamedSource::new(name.as_str(), excerpt));
    let mut text = String::new();
    if GraphicalReportHandler::new_themed(theme)
        .without_primary_span_start()
        .render_report(&mut text, report.as_ref())
        .is_err()
    {
        text = format!("{name}: {message}\n");
    }
    text
}

/// The text with long lines cut, and the place in it: at most some lines of it.
fn excerpt(text: &str, place: SourceSpan) -> (String, Range<usize>) {
    let end = place.offset + place.length.max(1);
    let covered = text.get(place.offset..end).unwrap_or_default();
    let mut ends = covered.match_indices('\n').map(|(at, _)| at);
    let first = ends.next();
    let end = match (first, ends.nth(LINES - 2)) {
        (Some(first), Some(_)) => place.offset + first,
        _ => end,
    };
    let mut excerpt = String::new();
    let (mut from, mut to) = (None, None);
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let inside = |offset: usize| offset.checked_sub(at).filter(|inside| *inside < line.len());
        let window = window(line, inside(place.offset).unwrap_or(0));
        let cut = |inside: usize| inside.clamp(window.start, window.end) - window.start;
        let mark = if window.start > 0 { "…" } else { "" };
        let start = excerpt.len() + mark.len();
        from = from.or(inside(place.offset).map(|inside| start + cut(inside)));
        to = to.or(inside(end).map(|inside| start + cut(inside)));
        excerpt.push_str(mark);
        excerpt.push_str(line.get(window.clone()).unwrap_or_default());
        if window.end < line.len() {
            excerpt.push_str("…\n");
        }
        at += line.len();
    }
    // Behind the end of the text, if nowhere in it.
    let behind = |offset: usize| excerpt.len() + offset.saturating_sub(text.len());
    let from = from.unwrap_or_else(|| behind(place.offset));
    let to = to.unwrap_or_else(|| behind(end));
    (excerpt, from..to)
}

/// The part of a line that is shown, around the place.
fn window(line: &str, place: usize) -> Range<usize> {
    if line.len() <= WIDTH {
        return 0..line.len();
    }
    let start = line.floor_char_boundary(place.saturating_sub(BEFORE));
    let end = line.floor_char_boundary(start + WIDTH);
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, of: &str) -> String {
        let source = Source {
            name: "a.yaml".into(),
            text: text.into(),
        };
        let place = SourceSpan {
            offset: text.find(of).expect("there"),
            length: of.len(),
        };
        picture(&source, "it is bad", place, GraphicalTheme::none())
    }

    #[test]
    fn a_list_of_thousands_in_one_line_is_shown_around_the_place() {
        let nets = |range: Range<u32>| {
            let nets = range.map(|n| format!("10.{}.{}.0/24", n / 256, n % 256));
            nets.collect::<Vec<_>>().join(", ")
        };
        let (before, behind) = (nets(0..1000), nets(1000..2000));
        let text =
            format!("kind: GlobalNetworkSet\nspec:\n  nets: [{before}, bäd, {behind}]\n# end\n");
        let told = shown(&text, "bäd");
        assert!(told.len() < 1000, "{} bytes", told.len());
        let column = "  nets: [".len() + before.len() + ", ".len() + 1;
        for part in [
            &*format!("a.yaml:3:{column}"),
            "bäd",
            "10.3.232.0/24",
            "spec:",
        ] {
            assert!(told.contains(part), "{part} in {told}");
        }
        let list = format!("[{before}, bäd, {behind}]");
        assert!(shown(&text, &list).len() < 1000);
        let lines = text.replace(", ", ",\n");
        assert!(shown(&lines, &list.replace(", ", ",\n")).len() < 1000);
    }

    #[test]
    fn short_lines_are_shown_whole_with_their_place() {
        let told = shown("kind: X\nspec:\n  order: ten\n", "ten");
        for part in ["a.yaml:3:10", "spec:", "  order: ten"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        let end = SourceSpan {
            offset: 0,
            length: 0,
        };
        assert_eq!(excerpt("", end), (String::new(), 0..1));
    }
}
