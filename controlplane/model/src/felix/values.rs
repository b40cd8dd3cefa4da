//! Values of settings that their type alone does not exclude.

use super::raw::{RawHealthTimeout, RawSetting, RawTableRange};
use super::settings::Class;
use crate::name::{InterfaceName, is_label};
use crate::net::{parse_address, parse_member};
use crate::path::At;
use crate::problem::Report;
use crate::rule::{PortSpec, parse_port};
use crate::shape::IntOrText;

/// Values that the type alone does not exclude.
pub(super) fn check(class: Class, setting: &RawSetting, at: &At<'_>, report: &mut Report) {
    match (class, setting) {
        (Class::Int(low, high), RawSetting::Int(value)) if !(low..=high).contains(value) => {
            report.add(at, format!("{value} is not between {low} and {high}"));
        }
        (Class::OneOf(known), RawSetting::Text(text))
            if !text.is_empty() && !known.iter().any(|name| name.eq_ignore_ascii_case(text)) =>
        {
            report.add(at, format!("`{text}` is not one of {}", known.join(", ")));
        }
        (Class::Duration, RawSetting::Text(text)) if !is_duration(text) => {
            report.add(
                at,
                format!("`{text}` is not a duration such as 90s or 1m30s"),
            );
        }
        (Class::Port, RawSetting::Port(port)) => check_port(port, at, report),
        (Class::Ports, RawSetting::Ports(ports)) => {
            report.each(ports, at, |port, at, report| {
                check_port(port, at, report);
                Some(())
            });
        }
        (Class::Address | Class::Address4 | Class::Address6, RawSetting::Text(text))
            if !text.is_empty() =>
        {
            let address = report.take(parse_address(text), at);
            let other = match class {
                Class::Address4 => address.filter(|address| !address.is_ipv4()),
                Class::Address6 => address.filter(|address| !address.is_ipv6()),
                _ => None,
            };
            if other.is_some() {
                report.add(at, format!("`{text}` is of the wrong family"));
            }
        }
        (Class::Label, RawSetting::Text(text)) if !text.is_empty() && !is_label(text) => {
            report.add(
                at,
                format!("`{text}` is not a name: at most 63 of `a-z`, `0-9` and `-`, with no `-` at an edge"),
            );
        }
        (Class::Prefixes, RawSetting::Text(text)) if !text.is_empty() => {
            let mut parts = text.split(',').map(str::trim);
            if let Some(part) = parts.find(|part| InterfaceName::new(part).is_none()) {
                report.add(
                    at,
                    format!(
                        "`{part}` does not begin an interface's name: 1 to 15 of `A-Za-z0-9_.-`"
                    ),
                );
            }
        }
        (Class::TableRange, RawSetting::TableRange(range)) => {
            check_tables(range, 250, at, report);
        }
        (Class::TableRanges, RawSetting::TableRanges(ranges)) => {
            report.each(ranges, at, |range, at, report| {
                check_tables(range, i64::from(u32::MAX), at, report);
                Some(())
            });
        }
        (Class::Networks4, RawSetting::Texts(texts)) => {
            report.each(texts, at, |text, at, report| {
                let net = report.take(parse_member(text), at)?;
                if !net.addr().is_ipv4() {
                    report.add(at, format!("`{text}` is not of IPv4"));
                }
                Some(())
            });
        }
        (Class::HealthTimeouts, RawSetting::HealthTimeouts(timeouts)) => {
            report.each(timeouts, at, |timeout, at, report| {
                check_timeout(timeout, at, report);
                Some(())
            });
        }
        _ => {}
    }
}

fn check_tables(range: &RawTableRange, most: i64, at: &At<'_>, report: &mut Report) {
    let (min, max) = (range.min.unwrap_or_default(), range.max.unwrap_or_default());
    if min < 1 || max < min || max > most {
        report.add(
            at,
            format!("{min} to {max} is not a range of routing tables, 1 to {most}"),
        );
    }
}

fn check_port(port: &IntOrText, at: &At<'_>, report: &mut Report) {
    if let Some(PortSpec::Named(name)) = report.take(parse_port(port), at) {
        report.add(
            at,
            format!("`{name}` is not a port or a range such as 1000:2000"),
        );
    }
}

fn check_timeout(timeout: &RawHealthTimeout, at: &At<'_>, report: &mut Report) {
    let name = timeout.name.as_deref().unwrap_or_default();
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"_ -".contains(&byte);
    if name.is_empty() || !name.bytes().all(inside) {
        report.add(
            &at.field("name"),
            format!("`{name}` is not a name: at least one of `A-Za-z0-9_ -`"),
        );
    }
    let text = timeout.timeout.as_deref().unwrap_or_default();
    if text.is_empty() || !is_duration(text) {
        report.add(
            &at.field("timeout"),
            format!("`{text}` is not a duration such as 90s or 1m30s"),
        );
    }
}

/// `([0-9]+(\.[0-9]+)?(ms|s|m|h))*`, or 0.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() && rest != "0" {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let digits = rest.strip_suffix(number).unwrap_or_default();
        let unit = ["ms", "s", "m", "h"]
            .iter()
            .find_map(|unit| number.strip_prefix(unit));
        match unit {
            Some(after)
                if digits.parse::<f64>().is_ok()
                    && !digits.starts_with('.')
                    && !digits.ends_with('.') =>
            {
                rest = after
            }
            _ => return false,
        }
    }
    true
}
