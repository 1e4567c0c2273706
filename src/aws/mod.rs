//! One target of AWS: its credentials and region, and all that stands between a client and the network. The only room that touches the SDK's
//! machinery. Knows the model and inputs, and no action.

mod anew;
pub mod backoff;
mod clients;
mod credentials;
pub mod doctor;
pub mod endpoint;
pub mod error;
pub mod guard;
pub mod limiter;
pub mod network;
pub mod once;
pub mod options;
mod profiles;
pub mod sandbox;
pub mod session;
