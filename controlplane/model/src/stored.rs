//! Rows as they stand in the store: JSON with a schema number, written and read here alone.
//!
//! Owns: what this build can read. Refuses to own: keys of other rows than resources, and what becomes of a row that
//! cannot be read; its readers decide that. The law kept here: **what this build does not understand whole, it does not
//! read at all.** A row with an unknown field, an unknown kind, a later schema, a value that cannot be typed, or a
//! field that this build would leave out of a view, is [`Unreadable`]; it is never read in part.
//!
//! Admission is stricter: it refuses values whose meaning is clear but which break a rule. Older builds had fewer rules,
//! so such values are read here ([`crate::problem::Report::refuse`]).
//!
//! ```
//! use palisade_model::stored;
//! let row = br#"{"schema":1,"apiVersion":"projectcalico.org/v3","kind":"Tier","metadata":{"name":"edge"},"spec":{}}"#;
//! assert!(stored::read(b"/r/Tier/-/edge", row).is_ok());
//! let later = br#"{"schema":2,"kind":"Tier"}"#;
//! let unreadable = stored::read(b"/r/Tier/-/edge", later).unwrap_err();
//! assert_eq!(unreadable.reason, "it is of schema 2; this build reads schema 1");
//! ```

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::envelope::decode_stored;
use crate::kind::{Kind, ResourceId};
use crate::path::FieldPath;
use crate::resource::Resource;
use crate::unenforced::unenforced;

/// The schema that this build writes, and the latest that it reads. A row without a number is of the first, 1: it was
/// written before rows had one. A build that adds a field, or means something else by one, raises this.
pub const SCHEMA: u64 = 1;

/// The field that holds the number.
const FIELD: &str = "schema";
/// The most of a reason that is told, in characters.
const LONGEST_REASON: usize = 300;

/// A row that this build cannot read. Its reader must not do as if the row were absent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("`{key}` cannot be read: {reason}")]
pub struct Unreadable {
    /// Its key; bytes that are no text are shown as `\u{fffd}`.
    pub key: String,
    /// Why not, one lower-case sentence without full stop.
    pub reason: String,
}

/// A resource that stands in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResource {
    /// What its key says, and its text too.
    pub id: ResourceId,
    /// Typed.
    pub resource: Resource,
    /// As it was written, without the schema number.
    pub json: Value,
    /// Fields that `projectcalico.org/v3` does not have, in a kind that it has.
    pub extensions: Vec<FieldPath>,
}

// === impl Unreadable ===

impl Unreadable {
    /// Of a row, and why.
    pub fn new(key: &[u8], reason: impl Into<String>) -> Self {
        let reason: String = reason.into();
        Self {
            key: String::from_utf8_lossy(key).into_owned(),
            reason: reason.chars().take(LONGEST_REASON).collect(),
        }
    }
}

/// A row of this build's schema.
///
/// # Errors
/// What is to be written is no JSON map.
pub fn encode(row: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let mut json = serde_json::to_value(row)?;
    let Some(fields) = json.as_object_mut() else {
        return Err(serde::ser::Error::custom("a row is a map"));
    };
    fields.insert(FIELD.to_owned(), SCHEMA.into());
    serde_json::to_vec(&json)
}

/// Reads a resource.
///
/// # Errors
/// [`Unreadable`].
pub fn read(key: &[u8], value: &[u8]) -> Result<StoredResource, Unreadable> {
    let unreadable = |reason: String| Unreadable::new(key, reason);
    // The schema first: of a later one nothing else is known, not even whether the text means what it seems to.
    let json = open(value).map_err(unreadable)?;
    let id = identity(key).map_err(unreadable)?;
    let decoded = decode_stored(&json).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        unreadable(texts.join("; "))
    })?;
    let found = decoded.resource.id();
    if found != id {
        return Err(unreadable(format!(
            "it holds {found}, not what its key says"
        )));
    }
    // A view that left it out would allow more, or less, than the resource says.
    if let Some(first) = unenforced(&decoded.resource).first() {
        return Err(unreadable(format!("this build does not enforce {first}")));
    }
    Ok(StoredResource {
        id,
        resource: decoded.resource,
        json,
        extensions: decoded.extensions,
    })
}

/// Reads a row of another kind: a record whose type refuses unknown fields.
///
/// # Errors
/// [`Unreadable`].
pub fn read_record<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, Unreadable> {
    let record = open(value)
        .and_then(|json| serde_json::from_value(json).map_err(|error| error.to_string()));
    record.map_err(|reason| Unreadable::new(key, reason))
}

/// The text of a row, if it is of a schema of this build; without the number.
fn open(value: &[u8]) -> Result<Value, String> {
    let mut json: Value =
        serde_json::from_slice(value).map_err(|error| format!("it is not JSON: {error}"))?;
    let fields = json.as_object_mut().ok_or("it is not a JSON map")?;
    match fields.remove(FIELD) {
        None => Ok(json),
        Some(number) => match number.as_u64() {
            Some(1..=SCHEMA) => Ok(json),
            _ => Err(format!(
                "it is of schema {number}; this build reads schema {SCHEMA}"
            )),
        },
    }
}

/// The resource that a key names.
fn identity(key: &[u8]) -> Result<ResourceId, String> {
    let text = std::str::from_utf8(key).map_err(|_| "its key is no text")?;
    ResourceId::from_store_key(text).ok_or_else(|| {
        let kind = text.split('/').nth(2).unwrap_or_default();
        match Kind::from_document(kind) {
            Some(_) => "its key is not that of a resource".to_owned(),
            None => format!("this build does not know kind `{kind}`"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Spec;
    use serde_json::json;

    const KEY: &[u8] = b"/r/GlobalNetworkPolicy/-/a";

    fn policy() -> Value {
        json!({
            "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
            "metadata": { "name": "a", "labels": {} },
            "spec": { "selector": "all()", "types": ["Ingress"], "ingress": [
                { "action": "Deny", "protocol": "TCP", "destination": { "ports": [80] } },
            ] },
        })
    }

    fn read_json(key: &str, json: &Value) -> Result<StoredResource, Unreadable> {
        read(key.as_bytes(), json.to_string().as_bytes())
    }

    #[test]
    fn what_is_written_is_read_and_so_is_a_row_without_a_number() {
        let written = encode(&policy()).expect("encodes");
        assert!(String::from_utf8_lossy(&written).contains(r#""schema":1"#));
        let with = read(KEY, &written).expect("reads");
        let without = read_json("/r/GlobalNetworkPolicy/-/a", &policy()).expect("reads");
        assert_eq!(with, without);
        assert_eq!(with.json, policy(), "the number is no part of the resource");
    }

    #[test]
    fn what_is_not_understood_whole_is_not_read() {
        let with = |pointer: &str, name: &str, value: Value| {
            let mut row = policy();
            let place = row.pointer_mut(pointer).and_then(Value::as_object_mut);
            place.expect("a map").insert(name.to_owned(), value);
            row
        };
        let rows = [
            (with("", "schema", json!(2)), "schema 2"),
            (with("", "schema", json!(0)), "schema 0"),
            (with("", "schema", json!("1")), "schema \"1\""),
            (with("", "later", json!(1)), "later"),
            (with("/metadata", "later", json!(1)), "metadata.later"),
            (with("/spec", "later", json!(1)), "spec.later"),
            (
                with("/spec/ingress/0", "later", json!(1)),
                "spec.ingress[0].later",
            ),
            (with("/spec/ingress/0", "action", json!("Divert")), "Divert"),
            (with("/spec/ingress/0", "protocol", json!("QUIC")), "QUIC"),
            (
                with("/spec", "selector", json!("nearby()")),
                "spec.selector",
            ),
            (with("/spec", "ingress", json!("all")), "spec.ingress"),
            (
                with("/metadata", "name", json!("b")),
                "GlobalNetworkPolicy(b)",
            ),
            (
                with("/spec/ingress/0", "http", json!({ "methods": ["GET"] })),
                "",
            ),
            (json!([1]), "not a JSON map"),
        ];
        for (row, told) in rows {
            let refused = read(KEY, row.to_string().as_bytes()).expect_err("is not read");
            assert!(refused.reason.contains(told), "{row}: {}", refused.reason);
        }
        let broken = read(KEY, b"{\"kind\":").expect_err("is not read");
        assert!(broken.reason.starts_with("it is not JSON"));
    }

    #[test]
    fn keys_of_no_kind_of_this_build_are_not_read() {
        for (key, told) in [
            ("/r/Invariant/-/a", "does not know kind `Invariant`"),
            ("/r/GlobalNetworkPolicy/shop/a", "not that of a resource"),
            ("/r/GlobalNetworkPolicy/-/A b", "not that of a resource"),
        ] {
            let refused = read_json(key, &policy()).expect_err("is not read");
            assert_eq!(refused.key, key);
            assert!(refused.reason.contains(told), "{}", refused.reason);
        }
    }

    /// A later rule of admission, or a stricter limit, is no reason to drop what stands.
    #[test]
    fn values_that_admission_refuses_but_that_mean_something_are_read() {
        let policy_with = |change: fn(&mut Value)| {
            let mut row = policy();
            change(&mut row);
            ("/r/GlobalNetworkPolicy/-/a".to_owned(), row)
        };
        let of = |kind: &str, name: &str, spec: Value| {
            let row = json!({
                "apiVersion": "projectcalico.org/v3", "kind": kind,
                "metadata": { "name": name }, "spec": spec,
            });
            (format!("/r/{kind}/-/{name}"), row)
        };
        let rows = [
            policy_with(|row| row["metadata"]["labels"] = json!({ "a b": "c d" })),
            policy_with(|row| row["metadata"]["annotations"] = json!({ "a b": "c" })),
            policy_with(|row| row["spec"]["types"] = json!(["Ingress", "Ingress"])),
            policy_with(|row| row["spec"]["performanceHints"] = json!(["Faster"])),
            policy_with(|row| {
                row["spec"]["selector"] = json!(vec!["has(role)"; 120].join(" || "));
            }),
            policy_with(|row| {
                let ports: Vec<u32> = (1..=60).collect();
                row["spec"]["ingress"][0]["destination"]["ports"] = json!(ports);
            }),
            policy_with(|row| {
                row["spec"]["ingress"][0]["plugin"] = json!({ "name": "p" });
            }),
            of(
                "GlobalNetworkPolicy",
                "a.b.c",
                json!({ "selector": "all()" }),
            ),
            of(
                "GlobalNetworkSet",
                "s",
                json!({ "nets": ["10.0.0.1", "10.0.0.1"] }),
            ),
            of(
                "HostEndpoint",
                "h",
                json!({ "node": "n", "interfaceName": "eth0", "profiles": ["p", "p"] }),
            ),
            of("Tier", "a.b", json!({ "order": 1 })),
        ];
        for (key, row) in rows {
            crate::decode(&row).expect_err("admission refuses it");
            let read = read_json(&key, &row);
            assert!(read.is_ok(), "{key} {row}: {:?}", read.err());
        }
    }

    #[test]
    fn nothing_is_lost_of_what_is_read_leniently() {
        let mut row = policy();
        let ports: Vec<u32> = (1..=60).collect();
        row["spec"]["ingress"][0]["destination"]["ports"] = json!(ports);
        let read = read_json("/r/GlobalNetworkPolicy/-/a", &row).expect("reads");
        let Spec::GlobalNetworkPolicy(policy) = read.resource.spec else {
            panic!("a policy");
        };
        assert_eq!(policy.ingress[0].destination.ports.len(), 60);
    }

    #[test]
    fn records_refuse_unknown_fields_and_later_schemas() {
        #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Record {
            a: u8,
        }
        let row = encode(&Record { a: 1 }).expect("encodes");
        assert_eq!(read_record(b"/t/x", &row), Ok(Record { a: 1 }));
        assert_eq!(read_record(b"/t/x", br#"{"a":1}"#), Ok(Record { a: 1 }));
        for row in [r#"{"a":1,"b":2}"#, r#"{"a":1,"schema":2}"#, "{", "{}"] {
            let refused = read_record::<Record>(b"/t/x", row.as_bytes());
            assert_eq!(refused.expect_err("is not read").key, "/t/x");
        }
    }
}
