//! Everything that shows Palisade at work from outside: a sandbox of network namespaces, real packets both ways,
//! the real binaries, and a runner for `scenarios/*`.
//!
//! Owns no product logic: it drives the control plane, the node daemon and `palisadectl` through their public
//! interfaces only, and never touches the ruleset of the machine it runs on.
#![forbid(unsafe_code)]

pub mod explain;
pub mod format;
pub mod guests;
pub mod load;
pub mod netns;
pub mod pair;
pub mod prerequisite;
pub mod product;
pub mod sandbox;
pub mod scenario;
pub mod traffic;

/// The breath between two looks at something that is being waited for, always with a deadline around it.
pub fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}
