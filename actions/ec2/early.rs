//! Where the next page begins, as soon as the answer with this one is there: the SDK takes longer to read 500 things than EC2's network to bring the next
//! page, and says where it begins only once it has read them all.
//!
//! It is a guess, taken from the bytes, and only looked for where EC2 writes it: what does not find it waits for the SDK, and what finds something else
//! costs one request ([`aaws::Early`]).

use aaws::Early;
use aws_sdk_ec2::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_ec2::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_ec2::error::BoxError;

/// How much is looked through on either side of the things: tokens are of a few hundred bytes.
const SIDE: usize = 8 << 10;

/// Says where the page behind this one begins before the SDK reads it.
#[derive(Debug)]
pub struct NextPage(pub Early<String>);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for NextPage {
    fn name(&self) -> &'static str {
        "aaws::NextPage"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        if answer.status().is_success()
            && let Some(token) = answer.body().bytes().and_then(token)
        {
            self.0.say(token);
        }
        Ok(())
    }
}

/// The token in an answer: behind the things, or before them. None where its text is not what it stands for.
fn token(answer: &[u8]) -> Option<String> {
    let end = &answer[answer.len().saturating_sub(SIDE)..];
    let token = element(end).or_else(|| element(&answer[..answer.len().min(SIDE)]))?;
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !b"<&".contains(byte);
    (!token.is_empty() && token.iter().all(is_plain)).then(|| String::from_utf8_lossy(token).into_owned())
}

/// What is between the tags of the first one.
fn element(part: &[u8]) -> Option<&[u8]> {
    let behind = |part: &[u8], tag: &[u8]| part.windows(tag.len()).position(|here| here == tag);
    let (open, close): (&[u8], &[u8]) = (b"<nextToken>", b"</nextToken>");
    let inside = &part[behind(part, open)? + open.len()..];
    Some(&inside[..behind(inside, close)?])
}

#[cfg(test)]
mod tests;
