//! A server in front of a world that holds one request until the process that sent it is dead.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::aaws::{Output, Running};
use super::http::{self, Response, Server};

/// No run takes nearly as long to come to a request.
const LIMIT: Duration = Duration::from_secs(60);

/// When the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Its request has not been carried out, and never will be.
    Before,
    /// It has been, and nobody hears the answer.
    After,
}

pub struct Trap {
    pub server: Server,
    reached: Receiver<()>,
    is_dead: Arc<(Mutex<bool>, Condvar)>,
}

impl Trap {
    /// In front of an endpoint. Held is the `nth` request, from 1, of those operations that are meant.
    pub fn new(endpoint: &str, nth: usize, moment: Moment, is_meant: fn(&str) -> bool) -> Self {
        let endpoint = endpoint.to_owned();
        let (came, reached) = mpsc::channel();
        let is_dead = Arc::<(Mutex<bool>, Condvar)>::default();
        let (gate, came_by) = (Arc::clone(&is_dead), AtomicUsize::new(0));
        let server = Server::start(move |operation, _, request| {
            let is_it = is_meant(operation) && came_by.fetch_add(1, Ordering::SeqCst) + 1 == nth;
            if !is_it {
                return http::send(&endpoint, &request).expect("the world answers");
            }
            if moment == Moment::After {
                http::send(&endpoint, &request).expect("it is carried out");
            }
            let _ = came.send(());
            drop(gate.1.wait_while(gate.0.lock().unwrap(), |is_dead| !*is_dead).unwrap());
            Response::dropped()
        });
        Trap { server, reached, is_dead }
    }

    /// Kills a run as soon as its request is held.
    pub fn kill(&self, running: Running) -> Output {
        self.reached.recv_timeout(LIMIT).expect("the run comes to the request that is held");
        running.signal("KILL");
        let output = running.wait();
        *self.is_dead.0.lock().unwrap() = true;
        self.is_dead.1.notify_all();
        assert_eq!(output.code, None, "it was killed: {output}");
        output
    }
}
