//! The laws of rulesets: what is lowered judges as the policy says, and plans lead where they should.

mod asking;
mod crossing;
mod example;
mod faults;
mod goldens;
mod ladder;
mod plans;
mod short;
mod views;
mod worlds;
