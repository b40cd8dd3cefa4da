//! From the selectors of a resource to one plain selector over effective labels (specification §2.6).
//!
//! Where Calico lets a negative namespace selector reach things without namespace, this one does not: every namespace
//! selector is AND-ed with "has a namespace" (deviation, DESIGN §5).

use palisade_model::{
    EntityRule, NAMESPACE_LABEL, Name, PolicySpec, SERVICE_ACCOUNT_LABEL, ServiceAccounts,
};
use palisade_selector::{Label, Literal, Selector};

/// What a policy selects; one of a namespace selects in that namespace only.
pub(crate) fn subject(policy: &PolicySpec, namespace: Option<&Name>) -> Selector {
    let narrowed = [
        namespace.map(in_namespace),
        policy.namespace_selector.as_ref().map(of_namespace),
        policy
            .service_account_selector
            .as_ref()
            .map(of_service_account),
    ];
    narrowed
        .into_iter()
        .flatten()
        .fold(policy.selector.clone(), Selector::and)
}

/// What the positive fields of one end of a rule select, less what its negative selector does: both are judged per
/// object, so they are one selector. `None` if the rule names nothing positive. A rule of a namespace reaches that
/// namespace only, unless it says which namespaces, or selects nothing at all.
pub(crate) fn positive(entity: &EntityRule, namespace: Option<&Name>) -> Option<Selector> {
    let selects = entity.selector.is_some()
        || entity.not_selector.is_some()
        || entity.service_accounts.is_some();
    let place = match &entity.namespace_selector {
        Some(selector) => Some(of_namespace(selector)),
        None => namespace.filter(|_| selects).map(in_namespace),
    };
    let terms = [
        place,
        entity.selector.clone(),
        entity.service_accounts.as_ref().and_then(of_accounts),
    ];
    let positive = conjunction(terms.into_iter().flatten())?;
    Some(match &entity.not_selector {
        Some(not) => positive.and(not.clone().negate()),
        None => positive,
    })
}

fn in_namespace(namespace: &Name) -> Selector {
    let literal = Literal::new(namespace.as_str()).expect("names hold no quotes");
    Selector::equal(label(NAMESPACE_LABEL), literal)
}

fn of_namespace(selector: &Selector) -> Selector {
    let has_namespace = has(NAMESPACE_LABEL);
    if selector.is_global() {
        return has_namespace.negate();
    }
    if selector.is_all() {
        return has_namespace;
    }
    has_namespace
        .clone()
        .and(prefixed(selector, "pcns.", &has_namespace))
}

/// Unlike a namespace selector, a negative one also picks what has no account (specification §2.6).
fn of_service_account(selector: &Selector) -> Selector {
    prefixed(selector, "pcsa.", &has(SERVICE_ACCOUNT_LABEL))
}

fn of_accounts(accounts: &ServiceAccounts) -> Option<Selector> {
    let names = (!accounts.names.is_empty()).then(|| {
        let names = accounts
            .names
            .iter()
            .filter_map(|name| Literal::new(name.as_str()));
        Selector::one_of(label(SERVICE_ACCOUNT_LABEL), names.collect())
    });
    conjunction(
        names
            .into_iter()
            .chain(accounts.selector.as_ref().map(of_service_account)),
    )
}

/// The selector with prefixed labels, and `all()` as `present`. A label that grows too long to exist selects nothing.
fn prefixed(selector: &Selector, prefix: &str, present: &Selector) -> Selector {
    match selector.with_label_prefix(prefix) {
        Ok(prefixed) => prefixed.replace_all(present),
        Err(_) => Selector::all().negate(),
    }
}

fn conjunction(terms: impl IntoIterator<Item = Selector>) -> Option<Selector> {
    terms.into_iter().reduce(Selector::and)
}

fn has(key: &str) -> Selector {
    Selector::has(label(key))
}

fn label(key: &str) -> Label {
    Label::new(key).expect("the well-known keys are label characters")
}
