//! Reads the XML of an answer to ListObjectsV2 or ListObjectVersions, event by event, and keeps what is asked for.
//!
//! Strict where a listing could come out short: the document has to be whole, to the last byte of its root's end tag. Tolerant of what it does not need:
//! elements that it does not know, in any order, with namespaces, comments and CDATA.

use std::borrow::Cow;
use std::io::BufRead;

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types::EncodingType;
use quick_xml::Reader;
use quick_xml::errors::Error as XmlError;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::super::bucket::Decoder;
use super::{Fields, Kind, ListEntry, Marker, version_of};

/// Of what a listing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// ListObjectsV2.
    Objects,
    /// ListObjectVersions.
    Versions,
}

impl Of {
    /// The element that the answer is.
    pub const fn root(self) -> &'static str {
        match self {
            Of::Objects => "ListBucketResult",
            Of::Versions => "ListVersionsResult",
        }
    }
}

/// What a page of a listing holds.
#[derive(Debug, Default)]
pub struct Listed {
    /// Objects and folders, or versions and delete markers, with their names decoded, in the order of the answer.
    pub items: Vec<ListEntry>,
    /// Whether there are folders among them.
    pub has_folders: bool,
    /// Whether there is more behind them.
    pub truncated: Option<bool>,
    /// Where that begins, of objects.
    pub token: Option<String>,
    /// The same of versions.
    pub marker: Option<Marker>,
}

/// Why an answer is no listing.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The document ends before its end: something between here and the store broke off. It may be whole when it is asked for again.
    #[error("it ends in the middle")]
    Torn,
    /// It says what a listing does not say, and will say so again.
    #[error("{0}")]
    Invalid(String),
}

/// Reads an answer; none is an error, which is in an answer of success, too, at times (S3 API reference, error responses).
pub fn read(body: &[u8], of: Of, fields: Fields) -> Result<Option<Listed>, Unreadable> {
    let mut answer = Answer::new(body, fields);
    let root = answer.root()?;
    match root.local_name().into_inner() {
        name if name == of.root().as_bytes() => {}
        b"Error" => return Ok(None),
        other => {
            let name = String::from_utf8_lossy(other);
            return Err(Unreadable::Invalid(format!("it is `{}` and not `{}`", name.escape_debug(), of.root())));
        }
    }
    let listed = match of {
        Of::Objects => answer.objects()?,
        Of::Versions => answer.versions()?,
    };
    answer.end()?;
    Ok(Some(listed))
}

/// Whether a document is whole, whatever it is: for answers that the SDK reads, which takes one that is torn for a shorter one.
pub fn is_whole(body: &[u8]) -> bool {
    let mut answer = Answer::new(body, Fields::default());
    let read = answer.root().and_then(|_| answer.skip()).and_then(|()| answer.end());
    // What is wrong otherwise is the SDK's to say.
    read != Err(Unreadable::Torn)
}

/// XML, read event by event.
pub struct Answer<'a> {
    xml: Reader<&'a [u8]>,
    fields: Fields,
}

impl<'a> Answer<'a> {
    /// Of such a body; of listings these are read.
    pub fn new(body: &'a [u8], fields: Fields) -> Self {
        let mut xml = Reader::from_reader(body);
        // `<Prefix/>` is a start and an end.
        xml.config_mut().expand_empty_elements = true;
        Answer { xml, fields }
    }

    /// The next event. The end of the bytes is none: there is an end tag before it.
    fn event(&mut self) -> Result<Event<'a>, Unreadable> {
        match self.xml.read_event() {
            Ok(Event::Eof) => Err(Unreadable::Torn),
            Ok(event) => Ok(event),
            Err(e) => Err(self.failed(&e)),
        }
    }

    fn failed(&self, error: &XmlError) -> Unreadable {
        match error {
            // A tag, a comment or a CDATA section without its end.
            XmlError::Syntax(_) => Unreadable::Torn,
            // An entity reference that the bytes end in.
            XmlError::IllFormed(_) if self.xml.get_ref().is_empty() => Unreadable::Torn,
            other => Unreadable::Invalid(other.to_string()),
        }
    }

    /// The start of the document's element.
    pub fn root(&mut self) -> Result<BytesStart<'a>, Unreadable> {
        loop {
            match self.event()? {
                Event::Start(start) => return Ok(start),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {}
                Event::Text(text) if text.trim_ascii().is_empty() => {}
                _ => return Err(Unreadable::Invalid("it is not XML".into())),
            }
        }
    }

    /// What may stand behind the document's element.
    pub fn end(&mut self) -> Result<(), Unreadable> {
        loop {
            match self.xml.read_event() {
                Ok(Event::Eof) => return Ok(()),
                Ok(Event::PI(_) | Event::Comment(_)) => {}
                Ok(Event::Text(text)) if text.trim_ascii().is_empty() => {}
                Ok(_) => return Err(Unreadable::Invalid("there is something behind its end".into())),
                Err(e) => return Err(self.failed(&e)),
            }
        }
    }

    /// The next element in the one that is open; none at its end.
    pub fn child(&mut self) -> Result<Option<BytesStart<'a>>, Unreadable> {
        loop {
            match self.event()? {
                Event::Start(start) => return Ok(Some(start)),
                Event::End(_) => return Ok(None),
                // White space between elements, and comments.
                _ => {}
            }
        }
    }

    /// Leaves out what is in the element that is open. Its text is not looked at: in a listing there is more of it than of
    /// all that is read.
    pub fn skip(&mut self) -> Result<(), Unreadable> {
        let mut depth = 0_usize;
        loop {
            self.skip_text();
            match self.event()? {
                Event::Start(_) => depth += 1,
                Event::End(_) if depth == 0 => return Ok(()),
                Event::End(_) => depth -= 1,
                _ => {}
            }
        }
    }

    /// Goes on to the next markup: in text there is no `<`. (Behind an element that is empty it is the text of the one around it, which is not read either.)
    fn skip_text(&mut self) {
        let text = self.xml.get_ref();
        let length = memchr::memchr(b'<', text).unwrap_or(text.len());
        self.xml.stream().consume(length);
    }

    /// The text in the element that is open. Characters stay as they are, line ends too: they may be a key's.
    pub fn text(&mut self) -> Result<Cow<'a, str>, Unreadable> {
        let mut text: Cow<'a, [u8]> = Cow::Borrowed(&[]);
        loop {
            let more = match self.event()? {
                Event::End(_) => return decoded(text),
                Event::Text(part) => written(part.into_inner())?,
                Event::CData(part) => written(part.into_inner())?,
                Event::GeneralRef(reference) => Cow::Owned(resolved(&reference)?.into_bytes()),
                Event::Comment(_) | Event::PI(_) => continue,
                _ => return Err(Unreadable::Invalid("there is an element where there should be text".into())),
            };
            match text.is_empty() {
                true => text = more,
                false => text.to_mut().extend_from_slice(&more),
            }
        }
    }

    /// The same, of what may be left out by being empty.
    fn nonempty(&mut self) -> Result<Option<String>, Unreadable> {
        let text = self.text()?;
        Ok((!text.is_empty()).then(|| text.into_owned()))
    }

    fn objects(&mut self) -> Result<Listed, Unreadable> {
        let mut listed = Listed::default();
        let mut encoding = None;
        while let Some(start) = self.child()? {
            match start.local_name().into_inner() {
                b"Contents" => listed.items.push(self.object()?),
                b"CommonPrefixes" => {
                    listed.has_folders = true;
                    self.folder(&mut listed.items)?;
                }
                b"EncodingType" => encoding = Some(EncodingType::from(&*self.text()?)),
                b"IsTruncated" => listed.truncated = Some(self.truth()?),
                b"NextContinuationToken" => listed.token = self.nonempty()?,
                _ => self.skip()?,
            }
        }
        // How names are written may be said behind them.
        decode(listed.items.iter_mut().map(|found| &mut found.key), encoding.as_ref())?;
        Ok(listed)
    }

    fn versions(&mut self) -> Result<Listed, Unreadable> {
        let mut listed = Listed::default();
        let (mut encoding, mut key, mut version) = (None, None, None);
        while let Some(start) = self.child()? {
            match start.local_name().into_inner() {
                b"Version" => listed.items.push(self.version(false)?),
                b"DeleteMarker" => listed.items.push(self.version(true)?),
                b"EncodingType" => encoding = Some(EncodingType::from(&*self.text()?)),
                b"IsTruncated" => listed.truncated = Some(self.truth()?),
                b"NextKeyMarker" => key = self.nonempty()?,
                b"NextVersionIdMarker" => version = self.nonempty()?,
                _ => self.skip()?,
            }
        }
        decode(listed.items.iter_mut().map(|found| &mut found.key).chain(&mut key), encoding.as_ref())?;
        listed.marker = key.map(|key| (key, version));
        Ok(listed)
    }

    /// A version, or a delete marker: of that there is nothing but a date.
    fn version(&mut self, is_marker: bool) -> Result<ListEntry, Unreadable> {
        let (mut key, mut id, mut latest) = (None, None, None);
        let mut found = ListEntry { key: String::new(), kind: Kind::Object, size: None, modified: None, etag: None, class: None };
        while let Some(start) = self.child()? {
            match start.local_name().into_inner() {
                b"Key" => key = Some(self.text()?.into_owned()),
                b"VersionId" => id = Some(self.text()?),
                b"IsLatest" => latest = Some(self.truth()?),
                b"LastModified" if self.fields.modified => found.modified = Some(self.date()?),
                b"Size" if self.fields.size && !is_marker => found.size = Some(self.number()?),
                b"ETag" if self.fields.etag && !is_marker => found.etag = self.nonempty()?,
                b"StorageClass" if self.fields.class && !is_marker => found.class = self.nonempty()?,
                _ => self.skip()?,
            }
        }
        let version = version_of(id.as_deref(), latest);
        found.kind = if is_marker { Kind::DeleteMarker(version) } else { Kind::Version(version) };
        found.key = key.ok_or_else(|| Unreadable::Invalid("there is a version without a key".into()))?;
        Ok(found)
    }

    fn object(&mut self) -> Result<ListEntry, Unreadable> {
        let mut key = None;
        let mut found = ListEntry { key: String::new(), kind: Kind::Object, size: None, modified: None, etag: None, class: None };
        while let Some(start) = self.child()? {
            match start.local_name().into_inner() {
                b"Key" => key = Some(self.text()?.into_owned()),
                b"Size" if self.fields.size => found.size = Some(self.number()?),
                b"LastModified" if self.fields.modified => found.modified = Some(self.date()?),
                b"ETag" if self.fields.etag => found.etag = self.nonempty()?,
                b"StorageClass" if self.fields.class => found.class = self.nonempty()?,
                _ => self.skip()?,
            }
        }
        found.key = key.ok_or_else(|| Unreadable::Invalid("there is an object without a key".into()))?;
        Ok(found)
    }

    fn folder(&mut self, items: &mut Vec<ListEntry>) -> Result<(), Unreadable> {
        while let Some(start) = self.child()? {
            match start.local_name().into_inner() {
                b"Prefix" => items.push(ListEntry::folder(self.text()?.into_owned())),
                _ => self.skip()?,
            }
        }
        Ok(())
    }

    /// The same, of what is true or false.
    pub fn truth(&mut self) -> Result<bool, Unreadable> {
        let text = self.text()?;
        text.parse().map_err(|_| strange("neither `true` nor `false`", &text))
    }

    fn number(&mut self) -> Result<u64, Unreadable> {
        let text = self.text()?;
        text.parse().map_err(|_| strange("no number of bytes", &text))
    }

    fn date(&mut self) -> Result<DateTime, Unreadable> {
        let text = self.text()?;
        DateTime::from_str(&text, DateTimeFormat::DateTimeWithOffset).map_err(|_| strange("no date", &text))
    }
}

/// Decodes names that are written in such a way.
fn decode<'k>(names: impl Iterator<Item = &'k mut String>, encoding: Option<&EncodingType>) -> Result<(), Unreadable> {
    let decode = Decoder::of(encoding);
    for name in names {
        if !decode.is_text(name) {
            return Err(Unreadable::Invalid(format!("the key `{name}` is no text")));
        }
        *name = decode.owned(std::mem::take(name));
    }
    Ok(())
}

fn strange(what: &str, text: &str) -> Unreadable {
    let shown: String = text.chars().take(40).collect();
    Unreadable::Invalid(format!("`{}` is {what}", shown.escape_debug()))
}

/// Text as it is written. XML has no way to write control characters but as references, and some stores write them as they are: what else such a store
/// writes wrong is not known, so it is not guessed.
fn written(text: Cow<'_, [u8]>) -> Result<Cow<'_, [u8]>, Unreadable> {
    let control = text.iter().copied().find(|byte| *byte < 0x20 && !matches!(*byte, b'\t' | b'\n' | b'\r'));
    match control {
        Some(byte) => Err(Unreadable::Invalid(format!("it has the character U+{byte:04X}, which XML cannot carry"))),
        None => Ok(text),
    }
}

/// Decoded once it is whole: the bytes may end within a character.
fn decoded(text: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Unreadable> {
    let decoded = match text {
        Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|e| e.utf8_error()),
    };
    decoded.map_err(|e| Unreadable::Invalid(format!("it is not UTF-8: {e}")))
}

/// What a reference stands for: a character by its number, or one of the five that XML names.
fn resolved(reference: &BytesRef<'_>) -> Result<String, Unreadable> {
    let unknown = || Unreadable::Invalid(format!("it has the unknown reference `&{};`", String::from_utf8_lossy(reference).escape_debug()));
    match reference.resolve_char_ref() {
        Ok(Some(character)) => Ok(character.to_string()),
        Ok(None) => {
            let name = std::str::from_utf8(reference).map_err(|_| unknown())?;
            resolve_xml_entity(name).map(str::to_owned).ok_or_else(unknown)
        }
        Err(_) => Err(unknown()),
    }
}
