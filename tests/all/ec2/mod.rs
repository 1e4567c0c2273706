//! The actions of EC2, on moto behind a server that mends it: see `support/ec2.rs`.

mod copying;
mod deleting;
mod every;
mod faults;
mod finding;
mod replacing;
mod settings;
mod tags;
mod copies;
mod deletion;
mod discover;
mod encrypt;
mod groups;
mod volumes;
mod walk;
