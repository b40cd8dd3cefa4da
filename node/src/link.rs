//! The way to the control plane: who we are to it, where it is, and the stream of views.
//!
//! * [`join`] — what comes first, and what then;
//! * [`stream`], [`session`] — the stream, and its protocol as a state machine;
//! * [`certificate`] — who this node is; [`servers`], [`way`], [`connect`] — where the control plane is, and a channel to it;
//! * [`state`] — what people are told of all this.
//!
//! Owns no policy: transactions go to [`crate::enforce`].

pub mod certificate;
pub mod connect;
pub mod join;
pub mod servers;
pub mod session;
pub mod state;
pub mod stream;
pub mod way;
