//! What is uploaded: a file, text, or standard input.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use aaws::{Code, Error, Failure, PathOrText, Result};
use aws_sdk_s3::primitives::{ByteStream, Length};
use bytes::Bytes;
use jiff::Timestamp;
use md5::{Digest, Md5};
use serde_json::{Value, json};

use super::create_objects::BodyAs;

/// How much of a file is read at once for its digest, in bytes.
const CHUNK: usize = 1 << 20;

/// The value of a flag that stands for standard input.
const STDIN: &str = "-";

/// The body of an object, looked at but not read.
pub enum Body {
    /// What is known to its end.
    Known(Content),
    /// What comes on standard input, of unknown length.
    Stdin,
}

/// What is sent, of known length.
pub enum Content {
    /// A regular file that can be read, of this many bytes.
    File { path: PathBuf, length: u64 },
    /// Text.
    Text(String),
    /// All of standard input.
    Read(Bytes),
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Body::Known(content) => content.fmt(f),
            Body::Stdin => f.write_str("from standard input"),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::File { path, length } => write!(f, "from the file `{}`, {length} bytes", path.display()),
            Content::Text(text) => write!(f, "from text, {} bytes", text.len()),
            Content::Read(bytes) => write!(f, "from standard input, {} bytes", bytes.len()),
        }
    }
}

impl Body {
    /// What the body of `key` is. Only what does not exist may be text where it could have been a file.
    pub fn of(key: &str, body: PathOrText, body_as: BodyAs) -> Result<Self, Failure> {
        let path = match (body, body_as) {
            (PathOrText::Text(text) | PathOrText::Either(text), BodyAs::Text) | (PathOrText::Text(text), BodyAs::Auto) => {
                return Ok(Body::Known(Content::Text(text)));
            }
            (PathOrText::Text(_), BodyAs::File) => {
                let why = "its body came as data, which never names a file of this machine: give it as `--object KEY PATH`";
                return Err(Failure::permanent(Code::Refused, why));
            }
            (PathOrText::Either(path), BodyAs::Auto | BodyAs::File) if path == STDIN => return Ok(Body::Stdin),
            (PathOrText::Either(path), BodyAs::Auto | BodyAs::File) => path,
        };
        match look(Path::new(&path)) {
            Ok(Some(length)) => Ok(Body::Known(Content::File { path: path.into(), length })),
            Ok(None) if body_as == BodyAs::File => Err(unreadable(&path, "there is none")),
            Ok(None) => {
                if looks_like_a_path(&path) {
                    tracing::warn!(
                        "`{key}`: there is no file `{path}`: its name is uploaded as text; --body_as file or text says what is meant"
                    );
                }
                Ok(Body::Known(Content::Text(path)))
            }
            Err(e) if body_as == BodyAs::File => Err(unreadable(&path, &e.to_string())),
            Err(e) => Err(unreadable(&path, &format!("{e}; --body_as text uploads its name"))),
        }
    }

    /// A file that was found in a folder.
    pub fn of_file(path: PathBuf) -> Result<Self, Failure> {
        let why = match look(&path) {
            Ok(Some(length)) => return Ok(Body::Known(Content::File { path, length })),
            Ok(None) => "it is not there any more".to_owned(),
            Err(e) => e.to_string(),
        };
        Err(unreadable(&path.display().to_string(), &why))
    }

    /// What tells without reading it whether it is still the same. Of standard input nothing does.
    pub fn state(&self) -> Value {
        let modified = match self {
            Body::Known(Content::File { path, .. }) => std::fs::metadata(path).and_then(|file| file.modified()).ok(),
            _ => None,
        };
        let modified = modified.and_then(|time| Timestamp::try_from(time).ok()).map(|time| time.to_string());
        let size = match self {
            Body::Known(content) => Some(content.size()),
            Body::Stdin => None,
        };
        json!({ "size": size, "modified": modified })
    }
}

impl Content {
    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        match self {
            Content::File { length, .. } => *length,
            Content::Text(text) => text.len() as u64,
            Content::Read(bytes) => bytes.len() as u64,
        }
    }

    /// A part of it, to be sent.
    pub async fn part(&self, offset: u64, length: u64) -> Result<ByteStream> {
        match self {
            Content::File { path, .. } => {
                let part = ByteStream::read_from().path(path).offset(offset).length(Length::Exact(length)).build().await;
                part.map_err(|e| Error::Failed(format!("cannot read the file `{}`: {e}", path.display())))
            }
            // What is in memory is sent whole.
            Content::Text(text) => Ok(ByteStream::from(text.clone().into_bytes())),
            Content::Read(bytes) => Ok(ByteStream::from(bytes.clone())),
        }
    }

    /// The MD5 of all of it, in hexadecimal digits: the ETag of an object that is stored in one piece, unless KMS encrypts it (S3 API reference,
    /// common response headers).
    pub async fn md5(&self) -> Result<String> {
        match self {
            Content::Text(text) => Ok(hex(&Md5::digest(text))),
            Content::Read(bytes) => Ok(hex(&Md5::digest(bytes))),
            Content::File { path, .. } => {
                let (path, shown) = (path.clone(), path.display().to_string());
                let read = tokio::task::spawn_blocking(move || file_md5(&path)).await;
                read.unwrap_or_else(|e| Err(io::Error::other(e))).map_err(|e| Error::io(format!("read the file `{shown}`"), e))
            }
        }
    }
}

fn unreadable(path: &str, why: &str) -> Failure {
    Failure::permanent(Code::UnreadableFile, format!("cannot read the file `{path}`: {why}"))
}

/// The length of a regular file that can be read; none when nothing is there. Opening tells more than asking, but a pipe would wait for its writer.
fn look(path: &Path) -> io::Result<Option<u64>> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        // A link that leads nowhere is there all the same.
        Err(e) if cannot_exist(&e) && path.symlink_metadata().is_err() => return Ok(None),
        Err(e) => return Err(e),
    };
    if metadata.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file, whose length could be told"));
    }
    File::open(path).map(|_| Some(metadata.len()))
}

/// Whether an error says that nothing of this name is there, or could be: text is often longer than a name may be.
fn cannot_exist(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename | ErrorKind::InvalidInput)
}

fn file_md5(path: &Path) -> io::Result<String> {
    let (mut file, mut md5, mut chunk) = (File::open(path)?, Md5::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hex(&md5.finalize())),
            read => md5.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text is rarely one word with a slash, or with something like an extension.
fn looks_like_a_path(body: &str) -> bool {
    let extension = body
        .rsplit_once('.')
        .is_some_and(|(stem, e)| !stem.is_empty() && (1..=5).contains(&e.len()) && e.chars().all(char::is_alphanumeric));
    !body.contains(char::is_whitespace) && (body.contains(['/', '\\']) || extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_path() {
        for path in ["a.csv", "./a", "/tmp/x", "reports/a", "C:\\a"] {
            assert!(looks_like_a_path(path), "{path}");
        }
        for text in ["one", "hello world.", "day,total", "1.", "a b/c", "the end.txt is near"] {
            assert!(!looks_like_a_path(text), "{text}");
        }
    }

    #[test]
    fn text_that_could_be_no_name_is_text() {
        for text in ["word".repeat(100), "a\0b".to_owned(), String::new(), "Cargo.toml/x".to_owned()] {
            assert!(matches!(look(Path::new(&text)), Ok(None)), "{text:?}");
        }
    }
}
