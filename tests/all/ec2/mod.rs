//! The actions of EC2, on moto behind a server that mends it: see `support/ec2.rs`.

mod copies;
mod copying;
mod deleting;
mod deletion;
mod discover;
mod encrypt;
mod every;
mod faults;
mod finding;
mod groups;
mod replacing;
mod settings;
mod tags;
mod volumes;
