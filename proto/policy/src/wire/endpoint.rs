//! Endpoints.

use super::{
    Field,
    address::{decode_address, decode_prefix, encode_address, encode_prefix},
    class::{decode_kind, encode_kind},
    fault, interface_name, list, text,
};
use crate::{
    class::{Direction, EndpointKind, PolicyList},
    endpoint::{Endpoint, InterfaceMatch},
    fault::FieldReason,
    ids::ClassId,
};
use palisade_proto::v1;
use std::collections::BTreeMap;

pub(super) fn encode(endpoint: &Endpoint) -> v1::Endpoint {
    let class = |list, direction| {
        endpoint
            .classes
            .get(&(list, direction))
            .map_or_else(String::new, |id| id.as_str().to_owned())
    };
    v1::Endpoint {
        kind: encode_kind(endpoint.kind),
        interface: match &endpoint.interface {
            InterfaceMatch::Named(name) => name.as_str().to_owned(),
            InterfaceMatch::Any => "*".to_owned(),
            InterfaceMatch::ByAddress => String::new(),
        },
        addresses: endpoint
            .addresses
            .iter()
            .map(|address| encode_address(*address))
            .collect(),
        normal_ingress: class(PolicyList::Normal, Direction::Ingress),
        normal_egress: class(PolicyList::Normal, Direction::Egress),
        forward_ingress: class(PolicyList::Forward, Direction::Ingress),
        forward_egress: class(PolicyList::Forward, Direction::Egress),
        untracked_ingress: class(PolicyList::Untracked, Direction::Ingress),
        untracked_egress: class(PolicyList::Untracked, Direction::Egress),
        pre_dnat_ingress: class(PolicyList::PreDnat, Direction::Ingress),
        source_prefixes: endpoint.source_prefixes.iter().map(encode_prefix).collect(),
        labels: endpoint.labels.iter().map(encode_label).collect(),
    }
}

pub(super) fn decode(message: v1::Endpoint) -> Field<Endpoint> {
    let kind = decode_kind("kind", message.kind)?;
    let interface = match message.interface.as_str() {
        "*" => InterfaceMatch::Any,
        "" => InterfaceMatch::ByAddress,
        _ => InterfaceMatch::Named(interface_name("interface", message.interface)?),
    };
    let named = matches!(interface, InterfaceMatch::Named(_));
    if kind == EndpointKind::Workload && !named {
        return fault("interface", FieldReason::Missing);
    }
    let mut addresses = list("addresses", message.addresses, |bytes| {
        decode_address("", &bytes)
    })?;
    addresses.sort_unstable();
    let mut source_prefixes = list("source_prefixes", message.source_prefixes, decode_prefix)?;
    source_prefixes.sort_unstable();
    let labels = labels(message.labels)?;
    let mut classes = BTreeMap::new();
    for (field, id, list, direction) in [
        (
            "normal_ingress",
            message.normal_ingress,
            PolicyList::Normal,
            Direction::Ingress,
        ),
        (
            "normal_egress",
            message.normal_egress,
            PolicyList::Normal,
            Direction::Egress,
        ),
        (
            "forward_ingress",
            message.forward_ingress,
            PolicyList::Forward,
            Direction::Ingress,
        ),
        (
            "forward_egress",
            message.forward_egress,
            PolicyList::Forward,
            Direction::Egress,
        ),
        (
            "untracked_ingress",
            message.untracked_ingress,
            PolicyList::Untracked,
            Direction::Ingress,
        ),
        (
            "untracked_egress",
            message.untracked_egress,
            PolicyList::Untracked,
            Direction::Egress,
        ),
        (
            "pre_dnat_ingress",
            message.pre_dnat_ingress,
            PolicyList::PreDnat,
            Direction::Ingress,
        ),
    ] {
        if id.is_empty() {
            if list == PolicyList::Normal {
                return fault(field, FieldReason::Missing);
            }
            continue;
        }
        classes.insert((list, direction), class_id(field, id)?);
    }
    Ok(Endpoint {
        kind,
        interface,
        addresses,
        source_prefixes,
        labels,
        classes,
    })
}

fn encode_label((key, value): (&String, &String)) -> v1::Label {
    v1::Label {
        key: key.clone(),
        value: value.clone(),
    }
}

/// One order is right, so that equal labels are equal bytes.
fn labels(messages: Vec<v1::Label>) -> Field<BTreeMap<String, String>> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    for (index, v1::Label { key, value }) in messages.into_iter().enumerate() {
        let in_order = labels.last_key_value().is_none_or(|(last, _)| *last < key);
        if key.is_empty() || !in_order {
            let field = format!("labels[{index}].key");
            return fault(&field, FieldReason::Text(key));
        }
        labels.insert(key, value);
    }
    Ok(labels)
}

fn class_id(field: &str, id: String) -> Field<ClassId> {
    text(field, id, |id| {
        id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
    .map(ClassId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Field<BTreeMap<String, String>> {
        let label = |(key, value): &(&str, &str)| v1::Label {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
        };
        labels(pairs.iter().map(label).collect())
    }

    #[test]
    fn labels_have_one_order_and_each_key_once() {
        assert_eq!(
            read(&[("a", "1"), ("b", "")]).map(|labels| labels.len()),
            Ok(2)
        );
        for pairs in [
            [("b", "1"), ("a", "1")],
            [("a", "1"), ("a", "2")],
            [("", "1"), ("a", "1")],
        ] {
            assert!(read(&pairs).is_err(), "{pairs:?}");
        }
    }
}
