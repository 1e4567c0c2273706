//! The actions of EC2, on moto behind a server that mends it: see `support/ec2.rs`.

mod addresses;
mod copying;
mod deleting;
mod details;
mod discovering;
mod encrypting;
mod every;
mod faults;
mod groups;
mod kills;
mod open_rules;
mod power;
mod selecting;
mod settings;
mod tags;
mod terminating;
mod volumes;
