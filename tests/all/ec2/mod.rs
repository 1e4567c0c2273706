//! The actions of EC2, on moto behind a proxy that mends it: see `support/ec2.rs`.

// mod copies;
// mod deletion;
// mod discover;
// mod encrypt;
// mod groups;
// mod settings;
// mod tags;
// mod volumes;
// mod walk;
mod copying;
mod deleting;
mod every;
mod faults;
mod finding;
mod replacing;
