//! Our own reader for the answer to a DeleteObjects, in place of the SDK's, which takes longer than all else that is done with a key.
//!
//! Errors are left as they are, for the SDK to read. What is torn is not, nor what is no XML: the SDK's reader takes that for a shorter answer, in which a key
//! may come short, too, and so be another one.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::operation::delete_objects::DeleteObjectsOutput;
use aws_sdk_s3::types::{DeletedObject, Error};

use super::super::listing::reader::{Answer, Unreadable};
use super::super::listing::{Fields, take_out};

/// What S3 says of the keys of one request.
#[derive(Debug, Default, PartialEq)]
pub struct Answered {
    /// Of those that were deleted.
    pub deleted: Vec<DeletedObject>,
    /// Of those that were not.
    pub errors: Vec<Error>,
}

impl From<DeleteObjectsOutput> for Answered {
    fn from(answer: DeleteObjectsOutput) -> Self {
        Answered { deleted: answer.deleted.unwrap_or_default(), errors: answer.errors.unwrap_or_default() }
    }
}

/// Reads the answer to one request. Cheap to clone; its clones share what was read.
#[derive(Debug, Clone, Default)]
pub struct ReadAnswer(Arc<Mutex<Option<Answered>>>);

impl ReadAnswer {
    /// What was read, once the request has succeeded; none where that was left to the SDK.
    pub fn take(&self) -> Option<Answered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ReadAnswer {
    fn name(&self) -> &'static str {
        "aaws::ReadAnswer"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(answered) = take_out(context, "DeleteResult", read)? {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answered);
        }
        Ok(())
    }
}

/// Reads an answer; none is something else.
fn read(body: &[u8]) -> Result<Option<Answered>, Unreadable> {
    let mut xml = Answer::new(body, Fields::default());
    if xml.root()?.local_name().into_inner() != b"DeleteResult" {
        return Ok(None);
    }
    let mut answered = Answered::default();
    while let Some(start) = xml.child()? {
        match start.local_name().into_inner() {
            b"Deleted" => answered.deleted.push(deleted(&mut xml)?),
            b"Error" => answered.errors.push(error(&mut xml)?),
            _ => xml.skip()?,
        }
    }
    xml.end()?;
    Ok(Some(answered))
}

fn deleted(xml: &mut Answer<'_>) -> Result<DeletedObject, Unreadable> {
    let mut deleted = DeletedObject::builder();
    while let Some(start) = xml.child()? {
        deleted = match start.local_name().into_inner() {
            b"Key" => deleted.key(xml.text()?),
            b"VersionId" => deleted.version_id(xml.text()?),
            b"DeleteMarker" => deleted.delete_marker(xml.truth()?),
            b"DeleteMarkerVersionId" => deleted.delete_marker_version_id(xml.text()?),
            _ => {
                xml.skip()?;
                deleted
            }
        };
    }
    Ok(deleted.build())
}

fn error(xml: &mut Answer<'_>) -> Result<Error, Unreadable> {
    let mut error = Error::builder();
    while let Some(start) = xml.child()? {
        error = match start.local_name().into_inner() {
            b"Key" => error.key(xml.text()?),
            b"VersionId" => error.version_id(xml.text()?),
            b"Code" => error.code(xml.text()?),
            b"Message" => error.message(xml.text()?),
            _ => {
                xml.skip()?;
                error
            }
        };
    }
    Ok(error.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_whole_or_left() {
        let body = r#"<?xml version="1.0" encoding="UTF-8"?>
            <DeleteResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Deleted><Key> a&amp;b&#13;</Key><Other>x</Other></Deleted>
              <Error><Key>c</Key><VersionId>1</VersionId><Code>SlowDown</Code><Message>a &lt; b</Message></Error>
              <Deleted><Key>d</Key><VersionId>2</VersionId><DeleteMarker>true</DeleteMarker><DeleteMarkerVersionId>2</DeleteMarkerVersionId></Deleted>
            </DeleteResult>"#;
        let d = DeletedObject::builder().key("d").version_id("2").delete_marker(true).delete_marker_version_id("2").build();
        let c = Error::builder().key("c").version_id("1").code("SlowDown").message("a < b").build();
        let answered = Answered { deleted: vec![DeletedObject::builder().key(" a&b\r").build(), d], errors: vec![c] };
        assert_eq!(read(body.as_bytes()), Ok(Some(answered)));
        assert_eq!(read(b"<DeleteResult/>"), Ok(Some(Answered::default())));
        assert_eq!(read(b"<Error><Code>InternalError</Code></Error>"), Ok(None));
        for end in 0..body.len() {
            assert_eq!(read(&body.as_bytes()[..end]), Err(Unreadable::Torn), "{end} bytes of it");
        }
        let unescaped = read(b"<DeleteResult><Deleted><Key>a<b</Key></Deleted></DeleteResult>");
        assert!(matches!(unescaped, Err(Unreadable::Invalid(_))), "{unescaped:?}");
    }
}
