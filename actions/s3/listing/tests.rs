//! Our reader of listings against the SDK's: the same of all that is whole, and an error of all that is not.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use fastrand::Rng;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::bucket::Decoder;
use super::reader::{Of, Unreadable, is_whole, read};
use super::*;

/// Answers each request with the next of these, and then with the last again.
#[derive(Debug, Clone)]
struct Answers {
    answers: Arc<Vec<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Answers {
    fn new<const N: usize>(answers: [(u16, &str); N]) -> Self {
        let answers = answers.into_iter().map(|(status, body)| (status, body.to_owned())).collect();
        Answers { answers: Arc::new(answers), asked: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// A client that they are given to.
    fn client(&self) -> Client {
        let answers = self.clone();
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("AKIATEST", "secret", None, None, "tests"))
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .http_client(http_client_fn(move |_, _| SharedHttpConnector::new(answers.clone())))
            .build();
        Client::from_conf(config)
    }

    /// As our reader reads them.
    async fn listed(&self, fields: Fields) -> Result<Option<Listed>> {
        let reading = ReadListing::new(Of::Objects, fields);
        let request = self.client().list_objects_v2().bucket("b").customize().interceptor(reading.clone());
        explain(request.send().await, || "list them")?;
        Ok(reading.take())
    }

    /// The same of versions, with all that is said of them.
    async fn versions(&self) -> Result<Option<Listed>> {
        let reading = ReadListing::new(Of::Versions, Fields::ALL);
        let request = self.client().list_object_versions().bucket("b").customize().interceptor(reading.clone());
        explain(request.send().await, || "list them")?;
        Ok(reading.take())
    }
}

impl HttpConnector for Answers {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let (status, body) = self.answers.get(number).or(self.answers.last()).expect("an answer");
        let status = (*status).try_into().expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body.as_str()))))
    }
}

/// What the SDK read, in our form.
fn of_the_sdk(output: &ListObjectsV2Output) -> (Vec<ListEntry>, Option<bool>, Option<String>) {
    let decode = Decoder::of(output.encoding_type());
    let objects = output.contents().iter().map(|object| ListEntry {
        key: decode.text(object.key().unwrap_or_default()),
        kind: Kind::Object,
        size: object.size().and_then(|size| u64::try_from(size).ok()),
        modified: object.last_modified().copied(),
        etag: nonempty(object.e_tag()),
        class: nonempty(object.storage_class().map(|class| class.as_str())),
    });
    let folders = output.common_prefixes().iter().map(|common| ListEntry::folder(decode.text(common.prefix().unwrap_or_default())));
    (objects.chain(folders).collect(), output.is_truncated(), nonempty(output.next_continuation_token()))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// An answer of any objects and folders, as some store may write it.
fn any_answer(rng: &mut Rng) -> String {
    const PIECES: [&str; 14] = ["a", "Z", "/", "+", "%", "%2F", " ", "&", "<", "\"", "'", "é", "日本", "🦀"];
    let encoded = rng.bool();
    let name = |rng: &mut Rng| {
        let name: String = (0..rng.usize(..8)).map(|_| *rng.choice(PIECES.iter()).unwrap_or(&"x")).collect();
        match encoded {
            true => utf8_percent_encode(&format!("k{name}"), NON_ALPHANUMERIC).to_string().replace("%20", "+").replace("%2F", "/"),
            false => escape(&format!("k{name}")),
        }
    };
    let mut parts = Vec::new();
    if encoded {
        parts.push("<EncodingType>url</EncodingType>".to_owned());
    }
    match rng.u8(..3) {
        0 => parts.push("<IsTruncated>false</IsTruncated>".to_owned()),
        1 => parts.push("<IsTruncated>true</IsTruncated><NextContinuationToken>1/a+b==&amp;</NextContinuationToken>".to_owned()),
        _ => {}
    }
    parts.push("<Name>b</Name><Prefix/><MaxKeys>1000</MaxKeys><KeyCount>3</KeyCount>".to_owned());
    for _ in 0..rng.usize(..20) {
        let (year, month, milliseconds) = (rng.u16(1970..2100), rng.u8(1..=12), rng.u16(..1000));
        let mut object = vec![
            format!("<Key>{}</Key>", name(rng)),
            format!("<LastModified>{year}-{month:02}-01T00:00:00.{milliseconds:03}Z</LastModified>"),
            format!("<ETag>&quot;{:x}&quot;</ETag>", rng.u64(..)),
            format!("<Size>{}</Size>", rng.u64(..1 << 42)),
        ];
        if rng.bool() {
            object.push("<StorageClass>GLACIER</StorageClass>".to_owned());
        }
        if rng.bool() {
            object.push("<Owner><ID>me</ID><DisplayName>Key</DisplayName></Owner><ChecksumAlgorithm>CRC32</ChecksumAlgorithm>".to_owned());
        }
        rng.shuffle(&mut object);
        let between = if rng.bool() { "\n    " } else { "" };
        parts.push(format!("<Contents>{between}{}{between}</Contents>", object.join(between)));
    }
    let between = if rng.bool() { "\n  " } else { "" };
    if rng.bool() {
        rng.shuffle(&mut parts);
    }
    // Folders stand behind objects, as in S3's own.
    for _ in 0..rng.usize(..3) {
        parts.push(format!("<CommonPrefixes><Prefix>{}/</Prefix></CommonPrefixes>", name(rng)));
    }
    let head = if rng.bool() { "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" } else { "" };
    format!(
        "{head}<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{between}{}{between}</ListBucketResult>",
        parts.join(between)
    )
}

#[tokio::test]
async fn whatever_a_listing_says_is_what_the_sdk_reads() {
    let mut rng = Rng::with_seed(12);
    for round in 0..200 {
        let answer = any_answer(&mut rng);
        let answers = Answers::new([(200, answer.as_str())]);
        let theirs = answers.client().list_objects_v2().bucket("b").send().await.expect("the SDK reads it");
        let ours = answers.listed(Fields::ALL).await.expect("we read it").expect("a listing");
        let has_folders = !theirs.common_prefixes().is_empty();
        assert_eq!((ours.items, ours.truncated, ours.token), of_the_sdk(&theirs), "round {round}: {answer}");
        assert_eq!(ours.has_folders, has_folders, "round {round}: {answer}");
    }
}

#[test]
fn only_what_is_asked_for_is_read() {
    let object = "<Contents><Key>a</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>\"e\"</ETag><Size>7</Size>\
                  <StorageClass>GLACIER</StorageClass></Contents>";
    let answer = format!("<ListBucketResult>{object}</ListBucketResult>");
    let found = |fields| read(answer.as_bytes(), Of::Objects, fields).expect("it is read").expect("a listing").items.remove(0);
    let key = ListEntry { key: "a".into(), kind: Kind::Object, size: None, modified: None, etag: None, class: None };
    assert_eq!(found(Fields::default()), key);
    assert_eq!(found(Fields { size: true, ..Fields::default() }), ListEntry { size: Some(7), ..key.clone() });
    let modified = Some(DateTime::from_secs(1_704_067_200));
    let all = ListEntry { size: Some(7), modified, etag: Some("\"e\"".into()), class: Some("GLACIER".into()), ..key };
    assert_eq!(found(Fields::ALL), all);
    // What is not read is not looked at.
    let odd = answer.replace("<Size>7</Size>", "<Size>seven</Size>");
    assert!(read(odd.as_bytes(), Of::Objects, Fields { etag: true, ..Fields::default() }).is_ok());
    assert!(matches!(read(odd.as_bytes(), Of::Objects, Fields::ALL), Err(Unreadable::Invalid(what)) if what.contains("`seven`")));
}

#[test]
fn text_is_read_as_xml_has_it() {
    let keys = |contents: &str| {
        let answer = format!("\u{feff}<s3:ListBucketResult xmlns:s3=\"x\">{contents}</s3:ListBucketResult>\n<!-- end -->\n");
        let listed = read(answer.as_bytes(), Of::Objects, Fields::default()).map(|listed| listed.expect("a listing").items);
        listed.map(|items| items.into_iter().map(|found| found.key).collect::<Vec<_>>())
    };
    let key = |text: &str| keys(&format!("<Contents><Key>{text}</Key></Contents>")).map(|keys| keys.join("|"));
    assert_eq!(key("a&amp;b&lt;&gt;&quot;&apos;&#65;&#x1F980;").as_deref(), Ok("a&b<>\"'A🦀"));
    assert_eq!(key("a<![CDATA[<b> & ]]>c<!-- not this -->d").as_deref(), Ok("a<b> & cd"));
    assert_eq!(key(" a\r\n b\t").as_deref(), Ok(" a\r\n b\t"));
    assert_eq!(key("&#7;").as_deref(), Ok("\u{7}"), "a reference can carry what text cannot");
    assert_eq!(key("100%+1").as_deref(), Ok("100%+1"), "names are encoded only where the answer says so");
    assert_eq!(key("").as_deref(), Ok(""));
    assert_eq!(keys("<s3:Contents a='>'><s3:Key b=\"<>\">k</s3:Key ></s3:Contents ><New><Key>no</Key></New>"), Ok(vec!["k".to_owned()]));
    assert_eq!(keys("<Contents><Owner><Key>no</Key></Owner><Key>k</Key></Contents>"), Ok(vec!["k".to_owned()]));
    let encoded = "<Contents><Key>a+b%2Bc/%F0%9F%A6%80</Key></Contents><EncodingType>url</EncodingType>";
    assert_eq!(keys(encoded), Ok(vec!["a b+c/🦀".to_owned()]), "how names are written is said behind them");

    for wrong in ["\u{7}", "&unknown;", "&#xD800;", "&", "<b>a</b>"] {
        assert!(matches!(key(wrong), Err(Unreadable::Invalid(_))), "{wrong:?}: {:?}", key(wrong));
    }
    for wrong in ["<Contents><Size>1</Size></Contents>", "<Contents><Key>a</Contents></Key>", "<IsTruncated>maybe</IsTruncated>"] {
        assert!(matches!(keys(wrong), Err(Unreadable::Invalid(_))), "{wrong}: {:?}", keys(wrong));
    }
    let not_utf8 = b"<ListBucketResult><Contents><Key>\xff</Key></Contents></ListBucketResult>";
    assert!(matches!(read(not_utf8, Of::Objects, Fields::default()), Err(Unreadable::Invalid(what)) if what.contains("UTF-8")));
    for wrong in ["not found", "<html></html>", "<ListBucketResult/><ListBucketResult/>", "<ListBucketResult/>more"] {
        assert!(matches!(read(wrong.as_bytes(), Of::Objects, Fields::default()), Err(Unreadable::Invalid(_))), "{wrong}");
    }
}

/// Small, and with all that may be torn.
const SMALL: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                     <Name>b</Name><Prefix/><IsTruncated>false</IsTruncated><!-- two --><Contents><Key>é&amp;&#x65E5;</Key>\
                     <LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag><Size>1</Size></Contents>\
                     <Contents><Key><![CDATA[k]]></Key><Owner><ID>me</ID></Owner></Contents></ListBucketResult>";

#[test]
fn an_answer_that_is_torn_anywhere_is_no_shorter_one() {
    assert_eq!(read(SMALL.as_bytes(), Of::Objects, Fields::ALL).expect("it is whole").expect("a listing").items.len(), 2);
    assert!(is_whole(SMALL.as_bytes()));
    for end in 0..SMALL.len() {
        let torn = SMALL.as_bytes().get(..end).expect("a part of it");
        for fields in [Fields::default(), Fields::ALL] {
            assert_eq!(read(torn, Of::Objects, fields).err(), Some(Unreadable::Torn), "{}", String::from_utf8_lossy(torn));
        }
        assert!(!is_whole(torn), "{}", String::from_utf8_lossy(torn));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_torn_is_asked_for_again_and_is_an_error_in_the_end() {
    let torn = SMALL.split_once("<Contents>").map_or("", |(head, _)| head);
    let healed = Answers::new([(200, torn), (200, SMALL)]);
    let listed = healed.listed(Fields::default()).await.expect("the second is whole").expect("a listing");
    assert_eq!((listed.items.len(), healed.asked()), (2, 2));

    let broken = Answers::new([(200, torn)]);
    let error = broken.listed(Fields::default()).await.expect_err("it is never whole");
    assert_eq!((error.code(), broken.asked()), (Some("UnreadableAnswer"), 3));
    assert!(error.to_string().contains("HTTP 200") && error.to_string().contains("it ends in the middle"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn versions_that_are_torn_are_no_shorter_list() {
    let whole = "<ListVersionsResult><IsTruncated>false</IsTruncated><Version><Key>a</Key></Version></ListVersionsResult>";
    let torn = whole.split_once("<Version>").map_or("", |(head, _)| head);
    let answers = Answers::new([(200, torn), (200, whole)]);
    let listed = answers.versions().await.expect("the second is whole").expect("a listing");
    assert_eq!((listed.items.len(), answers.asked()), (1, 2));
    // Uploads are read by the SDK, where it is sure that they are whole.
    let whole = "<ListMultipartUploadsResult><Upload><Key>a</Key><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>";
    let torn = whole.split_once("<Upload>").map_or("", |(head, _)| head);
    let answers = Answers::new([(200, torn), (200, whole)]);
    let listed = answers.client().list_multipart_uploads().bucket("b").customize().interceptor(OnlyWhole).send().await;
    assert_eq!((listed.expect("the second is whole").uploads().len(), answers.asked()), (1, 2));
}

/// An answer of any versions and delete markers.
fn any_versions(rng: &mut Rng) -> String {
    let encoded = rng.bool();
    let key = |rng: &mut Rng| {
        let key = rng.choice(["a", "a b", "a+b", "é/日本", "k&k", "100%", "🦀"]).unwrap_or("x");
        if encoded { utf8_percent_encode(key, NON_ALPHANUMERIC).to_string().replace("%20", "+") } else { escape(key) }
    };
    let mut parts = Vec::new();
    if encoded {
        parts.push("<EncodingType>url</EncodingType>".to_owned());
    }
    match rng.u8(..4) {
        0 => parts.push("<IsTruncated>false</IsTruncated>".to_owned()),
        1 => parts.push(format!("<IsTruncated>true</IsTruncated><NextKeyMarker>{}</NextKeyMarker>", key(rng))),
        2 => parts.push(format!("<NextKeyMarker>{}</NextKeyMarker><NextVersionIdMarker>id+%2B</NextVersionIdMarker>", key(rng))),
        _ => {}
    }
    parts.push("<Name>b</Name><Prefix/><KeyMarker/><VersionIdMarker/><MaxKeys>1000</MaxKeys>".to_owned());
    for number in 0..rng.usize(..20) {
        let mut fields = vec![
            format!("<Key>{}</Key>", key(rng)),
            format!("<VersionId>{}</VersionId>", if rng.bool() { "null".to_owned() } else { format!("v+%{number}") }),
            format!("<IsLatest>{}</IsLatest>", rng.bool()),
            format!("<LastModified>2024-{:02}-01T00:00:00.000Z</LastModified>", rng.u8(1..=12)),
            "<Owner><ID>me</ID><DisplayName>Key</DisplayName></Owner>".to_owned(),
        ];
        let kind = if rng.bool() { "Version" } else { "DeleteMarker" };
        if kind == "Version" {
            fields.push(format!("<ETag>&quot;{:x}&quot;</ETag><Size>{}</Size>", rng.u64(..), rng.u64(..1 << 42)));
            fields.push("<StorageClass>STANDARD</StorageClass><ChecksumType>FULL_OBJECT</ChecksumType>".to_owned());
        }
        rng.shuffle(&mut fields);
        parts.push(format!("<{kind}>{}</{kind}>", fields.concat()));
    }
    if rng.bool() {
        rng.shuffle(&mut parts);
    }
    format!("<ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{}</ListVersionsResult>", parts.concat())
}

#[tokio::test]
async fn whatever_a_listing_says_of_versions_is_what_the_sdk_reads() {
    let mut rng = Rng::with_seed(12);
    for round in 0..200 {
        let answer = any_versions(&mut rng);
        let answers = Answers::new([(200, answer.as_str())]);
        let theirs = answers.client().list_object_versions().bucket("b").send().await.expect("the SDK reads it");
        let ours = answers.versions().await.expect("we read it").expect("a listing");
        let decode = Decoder::of(theirs.encoding_type());
        let versions = theirs.versions().iter().map(|version| ListEntry {
            key: decode.text(version.key().unwrap_or_default()),
            kind: Kind::Version(version_of(version.version_id(), version.is_latest())),
            size: version.size().and_then(|size| u64::try_from(size).ok()),
            modified: version.last_modified().copied(),
            etag: nonempty(version.e_tag()),
            class: nonempty(version.storage_class().map(|class| class.as_str())),
        });
        let markers = theirs.delete_markers().iter().map(|marker| ListEntry {
            key: decode.text(marker.key().unwrap_or_default()),
            kind: Kind::DeleteMarker(version_of(marker.version_id(), marker.is_latest())),
            size: None,
            modified: marker.last_modified().copied(),
            etag: None,
            class: None,
        });
        let (mut found, apart) = (ours.items, versions.chain(markers).collect::<Vec<ListEntry>>());
        // The SDK tells them apart. The sort is stable.
        found.sort_by_key(ListEntry::is_delete_marker);
        assert_eq!(found, apart, "round {round}: {answer}");
        let marker = theirs.next_key_marker().map(|key| (decode.text(key), nonempty(theirs.next_version_id_marker())));
        assert_eq!((ours.truncated, ours.marker), (theirs.is_truncated(), marker), "round {round}: {answer}");
    }
}

#[test]
fn versions_keep_the_order_of_the_listing_and_are_put_together_where_they_are_apart() {
    let found = |key: &str, id: &str, latest: bool, is_marker: bool, day: i64| {
        let version = VersionOf { id: id.to_owned(), latest };
        let kind = if is_marker { Kind::DeleteMarker(version) } else { Kind::Version(version) };
        ListEntry { key: key.to_owned(), kind, size: None, modified: Some(DateTime::from_secs(day)), etag: None, class: None }
    };
    let ordered = |mut items: Vec<ListEntry>| {
        put_together(&mut items);
        items.iter().filter_map(|found| Some(format!("{} {}", found.key, found.version()?.id))).collect::<Vec<_>>()
    };
    // All of one second, but for an upload in parts, which is as old as its beginning.
    let as_s3 = vec![
        found("a", "4", true, false, 5),
        found("a", "3", false, true, 5),
        found("a", "2", false, false, 1),
        found("a", "1", false, false, 5),
        found("b", "1", true, true, 5),
    ];
    assert_eq!(ordered(as_s3), ["a 4", "a 3", "a 2", "a 1", "b 1"]);
    let apart = vec![
        found("a", "1", false, false, 1),
        found("b", "1", true, false, 1),
        found("a", "2", true, true, 2),
        found("b", "0", false, true, 0),
    ];
    assert_eq!(ordered(apart), ["a 2", "a 1", "b 1", "b 0"]);
    let in_no_order = vec![found("b", "1", true, false, 1), found("a", "1", false, false, 1), found("a", "2", true, true, 2)];
    assert_eq!(ordered(in_no_order), ["b 1", "a 1", "a 2"], "which has to be noticed");
}

#[tokio::test(start_paused = true)]
async fn errors_are_the_sdks_to_read() {
    let error = |code: &str| format!("<Error><Code>{code}</Code><Message>so it is</Message><RequestId>R</RequestId></Error>");
    let denied = error("AccessDenied");
    let answers = Answers::new([(403, denied.as_str())]);
    let told = answers.listed(Fields::default()).await.expect_err("it is denied");
    assert_eq!((told.code(), answers.asked()), (Some("AccessDenied"), 1));

    // S3 may say only in the body that it did not go well.
    let inside = error("InternalError");
    let answers = Answers::new([(200, inside.as_str()), (200, SMALL)]);
    assert!(answers.listed(Fields::default()).await.is_ok_and(|listed| listed.is_some()));
    assert_eq!(answers.asked(), 2, "an internal error passes");

    let answers = Answers::new([(200, "<html><body>Sign in</body></html>")]);
    let told = answers.listed(Fields::default()).await.expect_err("it is no listing");
    assert_eq!((told.code(), answers.asked()), (Some("UnreadableAnswer"), 1), "what is something else stays so");
    assert!(told.to_string().contains("`html`"), "{told}");
}
