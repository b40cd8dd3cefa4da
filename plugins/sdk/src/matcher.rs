//! Match conditions: one packet in, one answer out, while the packet waits.
//!
//! Two truths to know before writing one. The first packet of a TCP connection carries no data: a condition on TCP
//! payload answers [`Answer::NeedPayload`]. And packets of a flow that is already established do not come here at all:
//! a condition judges what opens a flow.

use crate::Problem;

pub use crate::__bindings::matcher::exports::palisade::plugin::matcher::{Answer, Packet};

/// A condition of a rule.
///
/// One value of the type lives in each worker of a node for each distinct settings. It must not depend on how many
/// there are: what has to be counted over all of them belongs in [`crate::state`](mod@crate::state).
pub trait Matcher: Sized + 'static {
    /// Reads the settings: JSON text, `{}` where the rule has none. Also what checks them when a policy is applied, so it
    /// reports all problems it can find, each with its path. [`crate::settings::parse`] does most of it.
    ///
    /// # Errors
    ///
    /// The problems; the policy is refused with them.
    fn configure(settings: &str) -> Result<Self, Vec<Problem>>;

    /// Whether the packet meets the condition.
    fn evaluate(&mut self, packet: &Packet) -> Answer;
}

/// Makes a type that is a [`Matcher`] the component's matcher, and embeds `plugin.yaml`.
#[macro_export]
macro_rules! matcher {
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
                    <$plugin as $crate::matcher::Matcher>::configure(&settings).map(drop)
                }

                fn configure(
                    settings: ::std::string::String,
                ) -> ::std::result::Result<(), ::std::vec::Vec<$crate::Problem>> {
                    let plugin = <$plugin as $crate::matcher::Matcher>::configure(&settings)?;
                    PLUGIN.set(::std::option::Option::Some(plugin));
                    ::std::result::Result::Ok(())
                }
            }

            impl $crate::__bindings::matcher::exports::palisade::plugin::matcher::Guest
                for Component
            {
                fn evaluate(packet: $crate::matcher::Packet) -> $crate::matcher::Answer {
                    PLUGIN.with_borrow_mut(|plugin| match plugin {
                        ::std::option::Option::Some(plugin) => {
                            $crate::matcher::Matcher::evaluate(plugin, &packet)
                        }
                        ::std::option::Option::None => $crate::matcher::Answer::Undecided(
                            ::std::string::String::from("not configured"),
                        ),
                    })
                }
            }

            $crate::__bindings::settings::export!(Component with_types_in $crate::__bindings::settings);
            $crate::__bindings::matcher::export!(Component with_types_in $crate::__bindings::matcher);
        };
    };
}
