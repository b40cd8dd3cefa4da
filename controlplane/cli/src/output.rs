//! How resources and reports are printed.

use crate::{args::Format, columns, failure::Failure};
use comfy_table::{Table, presets};
use palisade_model::Kind;
use palisade_proto::v1::ResourceRef;
use serde_json::{Map, Value};

/// A table with aligned columns and no lines, as calicoctl and kubectl print.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_header(header.iter().copied());
    table.add_rows(rows);
    let width = header.len();
    for index in 0..width {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, if index + 1 == width { 0 } else { 3 }));
        }
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// YAML, ending in a newline.
pub(crate) fn yaml(value: &Value) -> Result<String, Failure> {
    let mut text = serde_saphyr::to_string(value)
        .map_err(|error| Failure::error(format!("cannot write YAML: {error}")))?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// JSON, indented, ending in a newline.
pub(crate) fn json(value: &Value) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| Failure::error(format!("cannot write JSON: {error}")))
}

/// What was asked for: resources by name, or a listing of a kind.
pub(crate) enum Shown {
    /// One prints bare, several as a sequence.
    Named,
    /// A `<Kind>List`, with the revision that it shows.
    Listed {
        /// CamelCase singular.
        kind: String,
        /// The revision.
        revision: u64,
    },
}

/// Prints resources in the format; every machine-readable format is valid input again.
pub(crate) fn resources(
    kind: Kind,
    format: Format,
    shown: &Shown,
    resources: &[Value],
) -> Result<String, Failure> {
    match format {
        Format::Table => Ok(columns::resources(kind, false, resources)),
        Format::Wide => Ok(columns::resources(kind, true, resources)),
        Format::Name => Ok(resources
            .iter()
            .map(|r| format!("{}\n", name_of(r)))
            .collect()),
        Format::Yaml => yaml(&document(shown, resources)),
        Format::Json => json(&document(shown, resources)),
    }
}

/// `Kind/name` or `Kind/namespace/name`.
pub(crate) fn name_of(resource: &Value) -> String {
    let text = |path: &str| {
        resource
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    match text("/metadata/namespace") {
        "" => format!("{}/{}", text("/kind"), text("/metadata/name")),
        namespace => format!("{}/{namespace}/{}", text("/kind"), text("/metadata/name")),
    }
}

/// Identity of a resource as JSON.
pub(crate) fn reference(value: &Value) -> ResourceRef {
    let text = |path: &str| {
        value
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    ResourceRef {
        kind: text("/kind"),
        namespace: text("/metadata/namespace"),
        name: text("/metadata/name"),
    }
}

fn document(shown: &Shown, resources: &[Value]) -> Value {
    match (shown, resources) {
        (Shown::Named, [one]) => one.clone(),
        (Shown::Named, several) => Value::Array(several.to_vec()),
        (Shown::Listed { kind, revision }, items) => {
            let version = items
                .first()
                .and_then(|r| r.get("apiVersion"))
                .cloned()
                .unwrap_or_else(|| "projectcalico.org/v3".into());
            let mut list = Map::new();
            list.insert("apiVersion".into(), version);
            list.insert("items".into(), Value::Array(items.to_vec()));
            list.insert("kind".into(), format!("{kind}List").into());
            list.insert(
                "metadata".into(),
                serde_json::json!({ "resourceVersion": revision.to_string() }),
            );
            Value::Object(list)
        }
    }
}

/// Takes out what only this cluster knows.
pub(crate) fn export(resource: &mut Value) {
    if let Some(metadata) = resource.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
        ] {
            metadata.remove(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_named_resource_prints_bare_and_several_as_a_sequence() {
        let a = json!({"kind": "Tier", "metadata": {"name": "a"}});
        assert_eq!(document(&Shown::Named, std::slice::from_ref(&a)), a);
        assert!(document(&Shown::Named, &[a.clone(), a]).is_array());
    }

    #[test]
    fn yaml_that_would_read_differently_is_quoted() {
        let text = yaml(&json!({"a": "y", "b": "010", "c": "null", "d": "1e3"})).expect("YAML");
        let back: Value = serde_saphyr::from_str(&text).expect("reads back");
        assert_eq!(back, json!({"a": "y", "b": "010", "c": "null", "d": "1e3"}));
        for line in text.lines() {
            assert!(line.contains(['"', '\'']), "unquoted: {line}");
        }
    }

    #[test]
    fn export_keeps_labels_and_drops_identity() {
        let mut r = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "3", "labels": {"x": "y"}}});
        export(&mut r);
        assert_eq!(r, json!({"metadata": {"name": "a", "labels": {"x": "y"}}}));
    }
}
