//! The actions of EC2, on moto behind a server that mends it: see `support/ec2.rs`.

mod copying;
mod deleting;
mod details;
mod discovering;
mod encrypting;
mod every;
mod faults;
mod groups;
mod kills;
mod selecting;
mod settings;
mod tags;
mod terminating;
mod volumes;
