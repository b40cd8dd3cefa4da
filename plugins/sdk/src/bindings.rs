//! Generated from `wit/palisade.wit` by wit-bindgen. Authors use what the other modules give out under shorter names.
//!
//! One world for each exported interface, so that a component exports any of them; the linker unites their types.
#![allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    clippy::all,
    reason = "generated"
)]

pub mod settings {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package palisade:sdk-settings; world settings {
            import palisade:plugin/host@0.1.0;
            import palisade:plugin/inventory@0.1.0;
            import palisade:plugin/state@0.1.0;
            import palisade:plugin/sinks@0.1.0;
            export palisade:plugin/settings@0.1.0;
        }",
        runtime_path: "::palisade_plugin::__runtime",
        default_bindings_module: "palisade_plugin::__bindings::settings",
        export_macro_name: "export",
        pub_export_macro: true,
        additional_derives: [PartialEq],
        generate_all,
    });
}

pub mod matcher {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package palisade:sdk-matcher; world matcher { export palisade:plugin/matcher@0.1.0; }",
        runtime_path: "::palisade_plugin::__runtime",
        default_bindings_module: "palisade_plugin::__bindings::matcher",
        export_macro_name: "export",
        pub_export_macro: true,
        additional_derives: [PartialEq],
        generate_all,
        with: { "palisade:plugin/types@0.1.0": crate::__bindings::settings::palisade::plugin::types },
    });
}

pub mod auditor {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "package palisade:sdk-auditor; world auditor { export palisade:plugin/auditor@0.1.0; }",
        runtime_path: "::palisade_plugin::__runtime",
        default_bindings_module: "palisade_plugin::__bindings::auditor",
        export_macro_name: "export",
        pub_export_macro: true,
        additional_derives: [PartialEq],
        generate_all,
        with: { "palisade:plugin/types@0.1.0": crate::__bindings::settings::palisade::plugin::types },
    });
}
