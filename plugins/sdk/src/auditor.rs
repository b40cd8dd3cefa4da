//! Auditors: see what happened, in batches and in order, and never delay a packet.

use crate::Problem;

pub use crate::__bindings::auditor::exports::palisade::plugin::auditor::{
    Action, Amendment, Body, Event, Flow, Outcome, Parts, Phase, PluginFault, PolicyChange,
};

/// Sees events.
///
/// One value of the type lives on each node that runs the plugin. It is lost when the plugin traps or the daemon
/// restarts: what must outlive a trap belongs in [`crate::state`](mod@crate::state).
pub trait Auditor: Sized + 'static {
    /// Reads the settings: JSON text, `{}` where the resource has none. Also what checks them before the resource is
    /// accepted, so it reports all problems it can find, each with its path.
    ///
    /// # Errors
    ///
    /// The problems; the resource is refused with them.
    fn configure(settings: &str) -> Result<Self, Vec<Problem>>;

    /// What becomes of one event. Events come in the order they happened.
    fn event(&mut self, event: &Event) -> Outcome;

    /// Called every `flushSeconds` of `plugin.yaml`, with the time in milliseconds since 1970, and with `last` before
    /// the plugin ends.
    #[expect(unused_variables, reason = "the default does nothing")]
    fn flush(&mut self, time_ms: u64, last: bool) {}
}

/// Makes a type that is an [`Auditor`] the component's auditor, and embeds `plugin.yaml`.
#[macro_export]
macro_rules! auditor {
    ($plugin:ty) => {
        $crate::__manifest!();

        const _: () = {
            ::std::thread_local! {
                static PLUGIN: ::std::cell::RefCell<::std::option::Option<$plugin>> =
                    const { ::std::cell::RefCell::new(::std::option::Option::None) };
            }

            struct Component;

            impl $crate::__bindings::settings::exports::palisade::plugin::settings::Guest
                for Component
            {
                fn validate(
                    settings: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::vec::Vec<$crate::Problem>> {
                    <$plugin as $crate::auditor::Auditor>::configure(&settings).map(drop)
                }

                fn configure(
                    settings: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::vec::Vec<$crate::Problem>> {
                    let plugin = <$plugin as $crate::auditor::Auditor>::configure(&settings)?;
                    PLUGIN.set(::std::option::Option::Some(plugin));
                    ::std::result::Result::Ok(())
                }
            }

            impl $crate::__bindings::auditor::exports::palisade::plugin::auditor::Guest
                for Component
            {
                fn process(
                    events: ::std::vec::Vec<$crate::auditor::Event>,
                ) -> ::std::vec::Vec<$crate::auditor::Outcome> {
                    PLUGIN.with_borrow_mut(|plugin| {
                        let plugin = plugin.as_mut().expect("the host configures first");
                        events
                            .iter()
                            .map(|event| $crate::auditor::Auditor::event(plugin, event))
                            .collect()
                    })
                }

                fn flush(time_ms: u64, last: bool) {
                    PLUGIN.with_borrow_mut(|plugin| {
                        if let ::std::option::Option::Some(plugin) = plugin {
                            $crate::auditor::Auditor::flush(plugin, time_ms, last);
                        }
                    });
                }
            }

            $crate::__bindings::settings::export!(Component with_types_in $crate::__bindings::settings);
            $crate::__bindings::auditor::export!(Component with_types_in $crate::__bindings::auditor);
        };
    };
}
