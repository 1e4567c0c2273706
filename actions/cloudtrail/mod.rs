//! CloudTrail: its event history, looked up by one attribute.

pub mod discover_access_key_events;
pub mod discover_events;
pub mod discover_resource_events;
pub mod discover_user_events;
mod lookup;

pub use discover_access_key_events::{AccessKeyId, DiscoverAccessKeyEvents};
pub use discover_events::DiscoverEvents;
pub use discover_resource_events::DiscoverResourceEvents;
pub use discover_user_events::DiscoverUserEvents;
pub use lookup::EventRow;
