//! Plugins seen from outside: built from source, uploaded, named by policy, asked about real packets.

mod audit;
mod dns_suffix;
mod failure;
mod leaks;
mod redact;
mod refused;
mod world;
