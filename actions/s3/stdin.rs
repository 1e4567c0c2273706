//! Standard input as the body of an object: read in parts, of which a few are in memory, because nobody knows how many will come.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use aaws::{Context, Error, Result};
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

const MIB: u64 = 1 << 20;

/// The size of the first parts, in bytes. What is shorter than one of them is sent in one request.
const PART: u64 = 8 * MIB;

/// After so many parts they are twice as large. The first four GiB are in parts of the same size.
const OF_A_SIZE: u64 = 500;

/// How often they are: up to 1 GiB. Ten thousand parts then hold more than six TiB; S3 takes parts of 5 GiB (S3 user guide, multipart upload limits).
const DOUBLINGS: u64 = 7;

/// The most parts that one upload may have (S3 user guide, multipart upload limits).
const MOST_PARTS: u64 = 10_000;

/// How much is in memory at once, in MiB: parts that are being read, sent, or sent again. Of larger parts it is one.
const HELD: u32 = 256;

/// What a part counts at least, in MiB: so four of them are on their way at once.
const LEAST: u32 = HELD / 4;

/// There is one standard input, and what was read of it is gone.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What standard input turned out to be, once its beginning was read.
pub enum Begun {
    /// All of it.
    Whole(Bytes),
    /// More than a part.
    Long(Reader),
    /// The run was stopped before that was known.
    Stopped,
}

/// Reads the beginning.
pub async fn begin(cx: &Context) -> Result<Begun> {
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Error::Failed("standard input was read before, and can be read once only".to_owned()));
    }
    let Some(first) = read(cx, part_size(0)).await? else { return Ok(Begun::Stopped) };
    if is_last(&first, 0) {
        return Ok(Begun::Whole(first));
    }
    let Some(second) = read(cx, part_size(1)).await? else { return Ok(Begun::Stopped) };
    if second.is_empty() {
        return Ok(Begun::Whole(first));
    }
    let ended = is_last(&second, 1);
    Ok(Begun::Long(Reader { ready: VecDeque::from([first, second]), given: 0, ended, room: Arc::new(Semaphore::new(HELD as usize)) }))
}

/// Reads part after part.
pub struct Reader {
    /// What was read to see whether there is more than one part.
    ready: VecDeque<Bytes>,
    /// How many parts were given out.
    given: u64,
    /// Nothing comes behind what is ready.
    ended: bool,
    room: Arc<Semaphore>,
}

/// A part, in memory until it is dropped.
pub struct Part {
    /// Which of the parts it is, from 1.
    pub number: i32,
    /// All of it: a request that fails is sent again with the same bytes.
    pub bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

/// What comes next.
pub enum Next {
    /// This part.
    Part(Part),
    /// Nothing more.
    End,
    /// The run was stopped.
    Stopped,
}

impl Reader {
    /// The next part, once there is room for it.
    pub async fn next(&mut self, cx: &Context) -> Result<Next> {
        if cx.cancellation().is_cancelled() {
            return Ok(Next::Stopped);
        }
        let index = self.given;
        let bytes_and_room = match self.ready.pop_front() {
            Some(bytes) => Some((bytes, self.room(index).await?)),
            None if self.ended => None,
            None if index >= MOST_PARTS => {
                return match read(cx, 1).await? {
                    Some(more) if more.is_empty() => Ok(Next::End),
                    Some(_) => Err(Error::Failed(too_long())),
                    None => Ok(Next::Stopped),
                };
            }
            None => {
                let room = self.room(index).await?;
                let Some(bytes) = read(cx, part_size(index)).await? else { return Ok(Next::Stopped) };
                self.ended = is_last(&bytes, index);
                (!bytes.is_empty()).then_some((bytes, room))
            }
        };
        let Some((bytes, room)) = bytes_and_room else { return Ok(Next::End) };
        self.given += 1;
        // It fits: there are at most ten thousand.
        let number = i32::try_from(self.given).unwrap_or(i32::MAX);
        Ok(Next::Part(Part { number, bytes, _room: room }))
    }

    async fn room(&self, index: u64) -> Result<OwnedSemaphorePermit> {
        let room = Arc::clone(&self.room).acquire_many_owned(weight(part_size(index))).await;
        // It is never closed.
        room.map_err(|e| Error::Failed(format!("cannot read standard input: {e}")))
    }
}

/// How many bytes the part of this index has, counted from 0, if it is not the last.
fn part_size(index: u64) -> u64 {
    PART << (index / OF_A_SIZE).min(DOUBLINGS)
}

/// How much of the room a part takes.
fn weight(size: u64) -> u32 {
    u32::try_from(size / MIB).unwrap_or(HELD).clamp(LEAST, HELD)
}

/// A part that is shorter than it could be is the last: it is read until it is full, or nothing more comes.
fn is_last(part: &Bytes, index: u64) -> bool {
    (part.len() as u64) < part_size(index)
}

fn too_long() -> String {
    let most: u64 = (0..MOST_PARTS).map(part_size).sum();
    format!("standard input is longer than {} GiB, which is as much as {MOST_PARTS} parts hold", most >> 30)
}

/// So many bytes, or as many as there are; none when the run was stopped.
async fn read(cx: &Context, length: u64) -> Result<Option<Bytes>> {
    let (tell, told) = oneshot::channel();
    let reading = move || {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().take(length).read_to_end(&mut bytes);
        // Once the run was stopped, nobody waits for it.
        let _ = tell.send(read.map(|_| Bytes::from(bytes)));
    };
    let cannot = |e: io::Error| Error::io("read standard input", e);
    // A thread that nobody waits for: who types, or another program, may never give more, and this one has to end all the same.
    thread::Builder::new().name("stdin".to_owned()).spawn(reading).map_err(cannot)?;
    tokio::select! {
        read = told => read.unwrap_or_else(|e| Err(io::Error::other(e))).map(Some).map_err(cannot),
        () = cx.cancellation().cancelled() => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_and_no_more_of_them_are_held() {
        assert_eq!((part_size(0), part_size(OF_A_SIZE - 1), part_size(OF_A_SIZE)), (PART, PART, 2 * PART));
        assert_eq!(part_size(MOST_PARTS - 1), 1 << 30);
        let whole: u64 = (0..MOST_PARTS).map(part_size).sum();
        assert!(whole > 6 << 40, "{whole}");
        for index in 0..MOST_PARTS {
            let size = part_size(index);
            let at_once = u64::from(HELD / weight(size));
            assert!((1..=4).contains(&at_once) && at_once * size <= (u64::from(HELD) * MIB).max(size), "{index}");
        }
        assert!(too_long().contains("GiB"));
    }
}
