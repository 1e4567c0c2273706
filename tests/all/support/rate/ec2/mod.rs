//! An EC2 that holds volumes, snapshots and instances in memory, with AWS's limits on how often and how much may be asked for.

mod listing;
mod reads;
mod state;
mod writes;

use std::sync::{Arc, Mutex};

use super::super::http::{Request, Response, Server};
use super::super::wire::{Form, Node};
use super::gate::{Admission, Gate, Limit};
use super::meter::Meter;
use super::{LATENCY, identity, throttled};

pub use self::state::{State, TERMINATING_TAKES};

/// An answer, or the error in its place.
type Answer = Result<Node, Response>;

// The buckets of requests, one for each operation: EC2 user guide, "Request throttling for the Amazon EC2 API", tables "Request token bucket sizes
// and refill rates".
/// Operations that read.
pub const READS: Limit = Limit::new(100.0, 20.0);
/// Some of them without a filter and without pages.
pub const UNFILTERED: Limit = Limit::new(50.0, 10.0);
/// Operations that change something, and are in no list of their own.
pub const WRITES: Limit = Limit::new(50.0, 5.0);
/// Those that have buckets of their own ("Uncategorized actions") of this size.
pub const LISTED_WRITES: Limit = Limit::new(100.0, 5.0);
/// The same, CreateTags and DeleteTags.
pub const TAGGING: Limit = Limit::new(100.0, 10.0);

/// The operations whose bucket is smaller when they are asked without a filter and without pages (the same page).
const MAY_BE_UNFILTERED: [&str; 7] = [
    "DescribeInstances",
    "DescribeInstanceStatus",
    "DescribeNetworkInterfaces",
    "DescribeSecurityGroups",
    "DescribeSnapshots",
    "DescribeSpotInstanceRequests",
    "DescribeVolumes",
];

/// What stands behind the name of such an operation.
const WITHOUT_FILTER: &str = " without filter";

/// The documented limit of an operation.
pub fn documented(operation: &str) -> Limit {
    match operation {
        "CreateTags" | "DeleteTags" => TAGGING,
        "CreateSnapshot" | "DeleteSnapshot" | "DeleteVolume" | "DeregisterImage" | "ModifySnapshotAttribute" | "TerminateInstances" => {
            LISTED_WRITES
        }
        _ if operation.ends_with(WITHOUT_FILTER) => UNFILTERED,
        _ if is_read(operation) => READS,
        _ => WRITES,
    }
}

pub fn is_read(operation: &str) -> bool {
    ["Describe", "Get", "List", "Search"].iter().any(|start| operation.starts_with(start))
}

/// An EC2 that is reached over the network.
pub struct Ec2 {
    pub server: Server,
    pub meter: Meter,
    state: Arc<Mutex<State>>,
}

impl Ec2 {
    pub fn start(state: State, gate: Gate) -> Self {
        let state = Arc::new(Mutex::new(state));
        let meter = Meter::default();
        let (shared, counted) = (Arc::clone(&state), meter.clone());
        let server = Server::start(move |operation, _, request| {
            if operation == "GetCallerIdentity" {
                return identity();
            }
            counted.serve(operation, LATENCY, || {
                let form = Form::of(&request);
                let admission = gate.admit(&bucket(operation, &form));
                let reply = match admission {
                    Admission::Admitted => answer(operation, &form, &request, &mut shared.lock().unwrap()),
                    _ => throttled(&request),
                };
                (admission, reply)
            })
        });
        Self { server, meter, state }
    }

    /// Looks at what there is now.
    pub fn look<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap())
    }
}

/// The name of the bucket that a request is paid from.
fn bucket(operation: &str, form: &Form) -> String {
    let unfiltered = form.get("MaxResults").is_none() && form.get("Filter.1.Name").is_none();
    if unfiltered && MAY_BE_UNFILTERED.contains(&operation) { format!("{operation}{WITHOUT_FILTER}") } else { operation.to_owned() }
}

fn answer(operation: &str, form: &Form, request: &Request, state: &mut State) -> Response {
    if request.signed_service() != Some("ec2") {
        return super::super::proxy::error(request, 400, "InvalidAction");
    }
    let answer = if is_read(operation) { reads::answer(operation, form, state) } else { writes::answer(operation, form, state) };
    answer.map_or_else(|error| error, Response::from)
}
