use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::*;

fn body(bytes: impl Into<Bytes>) -> impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin {
    let chunk: Result<Bytes, BodyError> = Ok(bytes.into());
    stream::iter([chunk])
}

/// An empty bucket, and the folder that it lives in as long as the test does.
async fn bucket() -> (TempDir, Bucket) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    store.create_bucket("tests", Vec::new()).await.unwrap();
    let bucket = store.bucket("tests").await.unwrap();
    (dir, bucket)
}

async fn put(bucket: &Bucket, key: &str, text: &'static str) {
    bucket.put(key, Put::default(), body(text)).await.unwrap();
}

async fn read(bucket: &Bucket, key: &str) -> Vec<u8> {
    let (_, mut file) = bucket.open(key).await.unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).await.unwrap();
    bytes
}

/// The keys and the common prefixes of a page.
fn names(page: &Page) -> (Vec<&str>, Vec<&str>) {
    let keys = page.objects.iter().map(|object| object.key.as_str()).collect();
    (keys, page.prefixes.iter().map(String::as_str).collect())
}

fn awkward_keys() -> Vec<String> {
    let mut keys: Vec<String> = [
        "a",
        "a/b",
        "a//b",
        "/",
        "/a",
        "a/",
        ".",
        "..",
        "../a",
        "a/../b",
        ".hidden",
        "a.b",
        " ",
        " a ",
        "a\nb",
        "a\rb",
        "\0",
        "\u{1}",
        "\u{7f}",
        "%",
        "%2F",
        "a+b",
        "a+",
        "+",
        "é",
        "e\u{301}",
        "日本",
        "🦀",
        "a\\b",
        "C:",
        "\"<&>'",
        "A-Za-z0-9._-",
    ]
    .map(str::to_owned)
    .into();
    // Long ones, among them such that are split right before a dot, and in the middle of an encoded byte.
    for length in [199, 200, 201, 400, 401, 1024] {
        keys.push("x".repeat(length));
        keys.push(".".repeat(length));
    }
    keys.push(format!("{}.", "x".repeat(200)));
    keys.push(format!("{}..", "x".repeat(200)));
    keys.push("é".repeat(512));
    keys.push("/".repeat(1024));
    keys
}

#[test]
fn keys_survive_encoding() {
    for key in awkward_keys() {
        let name = encode(&key);
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%._-".contains(&byte)), "{name}");
        assert_eq!(decode(&name).as_deref(), Some(key.as_str()), "{name}");
    }
}

#[test]
fn no_path_leads_out_of_its_folder() {
    let base = PathBuf::from("base");
    for key in awkward_keys() {
        let path = key_path(base.clone(), &key).unwrap();
        for part in path.components() {
            let std::path::Component::Normal(name) = part else { panic!("{key:?} became {path:?}") };
            assert!(name.len() <= NAME_BYTES + 1, "{path:?}");
            assert!(!is_hidden(name), "{path:?}");
        }
    }
}

#[test]
fn names_that_encoding_does_not_yield_are_no_keys() {
    for name in [".DS_Store", "a b", "%2f", "%41", "%FF", "%", "a+"] {
        assert_eq!(decode(name), None, "{name}");
    }
}

#[test]
fn keys_have_1_to_1024_bytes() {
    assert!(matches!(key_path(PathBuf::new(), ""), Err(StoreError::EmptyKey)));
    assert!(matches!(key_path(PathBuf::new(), &"x".repeat(1025)), Err(StoreError::KeyTooLong(1025))));
}

#[tokio::test]
async fn every_key_can_be_put_read_listed_and_removed() {
    let (_dir, bucket) = bucket().await;
    let mut keys = awkward_keys();
    for key in &keys {
        bucket.put(key, Put::default(), body(key.clone())).await.unwrap();
    }
    for key in &keys {
        assert_eq!(read(&bucket, key).await, key.as_bytes());
    }

    keys.sort();
    let page = bucket.list(Listing { limit: 1000, ..Listing::default() }).await.unwrap();
    assert_eq!(names(&page).0, keys);

    for key in &keys {
        bucket.remove(key, None).await.unwrap();
        bucket.remove(key, None).await.unwrap();
        assert!(matches!(bucket.head(key).await, Err(StoreError::NoSuchKey(_))));
    }
}

#[tokio::test]
async fn a_key_and_keys_below_it_live_side_by_side() {
    let (_dir, bucket) = bucket().await;
    put(&bucket, "a", "one").await;
    put(&bucket, "a/b", "two").await;
    bucket.remove("a", None).await.unwrap();
    assert_eq!(read(&bucket, "a/b").await, b"two");
    put(&bucket, "a", "three").await;
    assert_eq!(read(&bucket, "a").await, b"three");
}

#[tokio::test]
async fn listings_are_in_the_order_of_bytes() {
    let (_dir, bucket) = bucket().await;
    for key in ["aé", "a/b", "b", "a-b", "a"] {
        put(&bucket, key, "x").await;
    }
    let page = bucket.list(Listing { limit: 10, ..Listing::default() }).await.unwrap();
    assert_eq!(names(&page).0, ["a", "a-b", "a/b", "aé", "b"]);
    assert_eq!(page.next, None);
}

#[tokio::test]
async fn pages_follow_each_other() {
    let (_dir, bucket) = bucket().await;
    for key in ["x/1", "x/2", "x/3", "y/1"] {
        put(&bucket, key, "x").await;
    }
    let page = |after: Option<&str>, limit| Listing { prefix: "x/".into(), after: after.map(str::to_owned), limit, ..Listing::default() };
    let first = bucket.list(page(None, 2)).await.unwrap();
    assert_eq!(names(&first).0, ["x/1", "x/2"]);
    assert_eq!(first.next.as_deref(), Some("x/2"));
    let second = bucket.list(page(first.next.as_deref(), 2)).await.unwrap();
    assert_eq!(names(&second).0, ["x/3"]);
    assert_eq!(second.next, None);
    let exact = bucket.list(page(None, 3)).await.unwrap();
    assert_eq!(exact.next, None);
}

#[tokio::test]
async fn a_delimiter_makes_common_prefixes_each_listed_once() {
    let (_dir, bucket) = bucket().await;
    for key in ["a/1", "a/2", "b", "c/1", "c/2"] {
        put(&bucket, key, "x").await;
    }
    let page =
        |after: Option<&str>, limit| Listing { delimiter: Some("/".into()), after: after.map(str::to_owned), limit, ..Listing::default() };
    let all = bucket.list(page(None, 10)).await.unwrap();
    assert_eq!(names(&all), (vec!["b"], vec!["a/", "c/"]));

    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let one = bucket.list(page(after.as_deref(), 1)).await.unwrap();
        let (keys, prefixes) = names(&one);
        seen.extend(keys.into_iter().chain(prefixes).map(str::to_owned));
        match one.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, ["a/", "b", "c/"]);
}

#[tokio::test]
async fn what_is_known_of_an_object_is_kept() {
    let (_dir, bucket) = bucket().await;
    let attributes = Attributes {
        content_type: Some("text/plain".into()),
        metadata: [("owner".to_owned(), "me".to_owned())].into(),
        storage_class: Some("GLACIER".into()),
        cache_control: Some("no-store".into()),
        content_encoding: Some("gzip".into()),
    };
    let put = Put { attributes: attributes.clone(), ..Put::default() };
    bucket.put("a", put, body("hello")).await.unwrap();
    let object = bucket.head("a").await.unwrap();
    assert_eq!(object.size, 5);
    assert_eq!(object.meta.etag, "5d41402abc4b2a76b9719d911017c592");
    assert_eq!(object.meta.attributes, attributes);
}

#[tokio::test]
async fn conditions_are_kept() {
    let (_dir, bucket) = bucket().await;
    let once = || Put { no_overwrite: true, ..Put::default() };
    bucket.put("a", once(), body("one")).await.unwrap();
    assert!(matches!(bucket.put("a", once(), body("two")).await, Err(StoreError::ObjectExists(_))));
    let wrong = Put { md5: Some([0; 16]), ..Put::default() };
    assert!(matches!(bucket.put("a", wrong, body("three")).await, Err(StoreError::BadDigest)));
    assert!(matches!(bucket.remove("a", Some("other")).await, Err(StoreError::EtagMismatch(_))));
    assert_eq!(read(&bucket, "a").await, b"one");

    let etag = bucket.head("a").await.unwrap().meta.etag;
    bucket.remove("a", Some(&etag)).await.unwrap();
    assert!(matches!(bucket.head("a").await, Err(StoreError::NoSuchKey(_))));
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_nothing() {
    let (_dir, bucket) = bucket().await;
    let broken = stream::iter([Ok(Bytes::from("half")), Err(BodyError::from("gone"))]);
    assert!(matches!(bucket.put("a", Put::default(), broken).await, Err(StoreError::Body(_))));
    assert!(matches!(bucket.head("a").await, Err(StoreError::NoSuchKey(_))));
    assert_eq!(fs::read_dir(bucket.dir.join(TEMP)).unwrap().count(), 0);
}

#[tokio::test]
async fn parts_become_one_object() {
    let (_dir, bucket) = bucket().await;
    let attributes = Attributes { content_type: Some("text/plain".into()), ..Attributes::default() };
    let id = bucket.create_upload("a/b", attributes.clone()).await.unwrap();
    let first = vec![b'x'; MIN_PART_BYTES as usize];
    let part = |number, etag: &str| Part { number, etag: Some(etag.to_owned()) };
    // Out of order, and one of them twice: the last one counts.
    let two = bucket.put_part(&id, "a/b", 2, None, body("end")).await.unwrap();
    bucket.put_part(&id, "a/b", 1, None, body("wrong")).await.unwrap();
    let one = bucket.put_part(&id, "a/b", 1, None, body(first.clone())).await.unwrap();
    assert_eq!(bucket.uploads("").await.unwrap().len(), 1);

    let complete = |parts| bucket.complete_upload(&id, "a/b", parts, false);
    let swapped = complete(vec![part(2, &two), part(1, &one)]).await;
    assert!(matches!(swapped, Err(StoreError::InvalidPartOrder)));
    let other = complete(vec![part(1, &two), part(2, &two)]).await;
    assert!(matches!(other, Err(StoreError::InvalidPart(1))));
    let missing = complete(vec![part(1, &one), part(3, &two)]).await;
    assert!(matches!(missing, Err(StoreError::InvalidPart(3))));
    assert!(matches!(bucket.head("a/b").await, Err(StoreError::NoSuchKey(_))));

    let meta = complete(vec![part(1, &one), part(2, &two)]).await.unwrap();
    assert!(meta.etag.ends_with("-2"), "{}", meta.etag);
    assert_eq!(meta.attributes, attributes);
    let mut whole = first;
    whole.extend_from_slice(b"end");
    assert!(read(&bucket, "a/b").await == whole);
    assert!(bucket.uploads("").await.unwrap().is_empty());
    assert!(matches!(complete(Vec::new()).await, Err(StoreError::NoSuchUpload(_))));
}

#[tokio::test]
async fn only_the_last_part_may_be_small_and_uploads_can_be_aborted() {
    let (_dir, bucket) = bucket().await;
    let id = bucket.create_upload("a", Attributes::default()).await.unwrap();
    for number in [1, 2] {
        bucket.put_part(&id, "a", number, None, body("small")).await.unwrap();
    }
    let parts = [1, 2].map(|number| Part { number, etag: None }).into();
    let completed = bucket.complete_upload(&id, "a", parts, false).await;
    assert!(matches!(completed, Err(StoreError::PartTooSmall(1))));

    assert!(matches!(bucket.abort_upload(&id, "b").await, Err(StoreError::NoSuchUpload(_))));
    assert!(matches!(bucket.abort_upload("../data", "a").await, Err(StoreError::NoSuchUpload(_))));
    bucket.abort_upload(&id, "a").await.unwrap();
    assert!(matches!(bucket.abort_upload(&id, "a").await, Err(StoreError::NoSuchUpload(_))));
    assert!(bucket.uploads("").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_bucket_appears_once_and_with_its_objects() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path().join("sandbox"));
    assert!(store.is_new().await.unwrap());
    let seed = vec![("a/b".to_owned(), "text".to_owned())];
    store.create_bucket("tests", seed).await.unwrap();
    assert!(!store.is_new().await.unwrap());
    assert!(matches!(store.create_bucket("tests", Vec::new()).await, Err(StoreError::BucketExists(_))));
    assert_eq!(read(&store.bucket("tests").await.unwrap(), "a/b").await, b"text");
    let names: Vec<String> = store.buckets().await.unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["tests"]);

    assert!(matches!(store.bucket("missing").await, Err(StoreError::NoSuchBucket(_))));
    assert!(matches!(store.bucket("../tests").await, Err(StoreError::InvalidBucketName(_))));
}
