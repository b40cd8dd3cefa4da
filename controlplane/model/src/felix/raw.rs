//! A FelixConfiguration as written: settings by name, each read as its type wants it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Deserialize as DeriveDeserialize, Serialize};
use serde_json::Value;

use super::settings::{Class, SETTINGS};
use crate::shape::IntOrText;

/// Names of all settings, for the decoder that refuses others.
static NAMES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| SETTINGS.iter().map(|(name, _, _)| *name).collect());

/// Settings that were given.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub(crate) struct RawFelixConfiguration {
    pub(super) given: BTreeMap<&'static str, RawSetting>,
}

/// One setting in its own type.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum RawSetting {
    Bool(bool),
    Int(i64),
    Text(String),
    Port(IntOrText),
    Ports(Vec<IntOrText>),
    Texts(Vec<String>),
    TextMap(BTreeMap<String, String>),
    Failsafes(Vec<RawFailsafe>),
    HealthTimeouts(Vec<RawHealthTimeout>),
    TableRange(RawTableRange),
    TableRanges(Vec<RawTableRange>),
    Structure(Value),
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, DeriveDeserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawFailsafe {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) net: Option<String>,
}

/// Routing tables by number.
#[derive(Debug, Clone, Default, PartialEq, Serialize, DeriveDeserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawTableRange {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) min: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max: Option<i64>,
}

/// How long a part of the daemon may be silent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, DeriveDeserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawHealthTimeout {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<String>,
}

impl<'de> Deserialize<'de> for RawFelixConfiguration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names: &'static [&'static str] = NAMES.as_slice();
        deserializer.deserialize_struct("FelixConfigurationSpec", names, SettingsVisitor)
    }
}

struct SettingsVisitor;

impl<'de> Visitor<'de> for SettingsVisitor {
    type Value = RawFelixConfiguration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings")
    }

    fn visit_map<A: MapAccess<'de>>(
        self,
        mut access: A,
    ) -> Result<RawFelixConfiguration, A::Error> {
        let mut given = BTreeMap::new();
        while let Some(key) = access.next_key::<String>()? {
            let Some((name, class, _)) = SETTINGS.iter().find(|(name, _, _)| *name == key) else {
                return Err(serde::de::Error::unknown_field(&key, NAMES.as_slice()));
            };
            if let Some(setting) = read(*class, &mut access)? {
                given.insert(*name, setting);
            }
        }
        Ok(RawFelixConfiguration { given })
    }
}

/// The value behind a key; `None` for null, which is not given.
fn read<'de, A: MapAccess<'de>>(
    class: Class,
    access: &mut A,
) -> Result<Option<RawSetting>, A::Error> {
    Ok(match class {
        Class::Bool => access.next_value::<Option<_>>()?.map(RawSetting::Bool),
        Class::Int(..) => access.next_value::<Option<_>>()?.map(RawSetting::Int),
        Class::Text
        | Class::Address
        | Class::Address4
        | Class::Address6
        | Class::Label
        | Class::Prefixes
        | Class::Duration
        | Class::OneOf(_) => access.next_value::<Option<_>>()?.map(RawSetting::Text),
        Class::Port => access.next_value::<Option<_>>()?.map(RawSetting::Port),
        Class::Ports => access.next_value::<Option<_>>()?.map(RawSetting::Ports),
        Class::Texts | Class::Networks4 => access.next_value::<Option<_>>()?.map(RawSetting::Texts),
        Class::TextMap => access.next_value::<Option<_>>()?.map(RawSetting::TextMap),
        Class::Failsafes => access.next_value::<Option<_>>()?.map(RawSetting::Failsafes),
        Class::HealthTimeouts => access
            .next_value::<Option<_>>()?
            .map(RawSetting::HealthTimeouts),
        Class::TableRange => access
            .next_value::<Option<_>>()?
            .map(RawSetting::TableRange),
        Class::TableRanges => access
            .next_value::<Option<_>>()?
            .map(RawSetting::TableRanges),
        Class::Structure => access.next_value::<Option<_>>()?.map(RawSetting::Structure),
    })
}
