//! On a moto server of the tests' own.

mod moto;

use super::*;
use crate::sink::conformance::sink_conformance;
use aws_credential_types::Credentials;
use moto::Moto;

impl S3Sink {
    fn for_tests(place: BucketPlace, options: SinkOptions) -> S3Sink {
        let credentials = Credentials::new("AKIATEST", "test", None, None, "tests");
        S3Sink(Arc::new(Bucket { place, options, credentials: Some(credentials), client: OnceCell::new() }))
    }
}

fn options(moto: &Moto) -> SinkOptions {
    SinkOptions {
        region: Some("us-east-1".into()),
        endpoint: Some(moto.url()),
        kms_key: None,
        ..SinkOptions::default()
    }
}

/// A sink in a new bucket, below a prefix.
async fn sink() -> (&'static Moto, S3Sink) {
    let moto = Moto::shared();
    let bucket = moto.new_bucket();
    (moto, S3Sink::for_tests(BucketPlace::parse(&format!("{bucket}/some/prefix")).expect("a place"), options(moto)))
}

sink_conformance!(sink().await);

async fn uploads(sink: &S3Sink) -> usize {
    let bucket = &sink.0;
    let listed =
        bucket.client().await.expect("a client").list_multipart_uploads().bucket(&bucket.place.bucket).send().await;
    listed.expect("listed").uploads().len()
}

/// More than one part, less than two.
fn large() -> Vec<u8> {
    vec![7; 9 * 1024 * 1024]
}

#[tokio::test]
async fn uploads_that_nobody_ends_are_swept_and_those_of_other_folders_stay() {
    let (_moto, sink) = sink().await;
    for path in ["s/a/1", "t/b/1"] {
        let mut writer = sink.create(path).await.expect("begins");
        writer.write(large()).await.expect("writes");
        std::mem::forget(writer);
    }
    assert_eq!(uploads(&sink).await, 2);
    sink.sweep("s").await.expect("sweeps");
    assert_eq!(uploads(&sink).await, 1);
    sink.sweep("t").await.expect("sweeps");
    assert_eq!(uploads(&sink).await, 0);
}

#[tokio::test]
async fn a_dropped_writer_gives_its_upload_up() {
    let (_moto, sink) = sink().await;
    let mut writer = sink.create("s/a/1").await.expect("begins");
    writer.write(large()).await.expect("writes");
    assert_eq!(uploads(&sink).await, 1);
    drop(writer);
    for _ in 0..100 {
        if uploads(&sink).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the upload stays");
}

#[tokio::test]
async fn two_places_in_one_bucket_do_not_see_each_other() {
    let (moto, one) = sink().await;
    let bucket = one.0.place.bucket.clone();
    let other =
        S3Sink::for_tests(BucketPlace::parse(&format!("{bucket}/some/prefix-2")).expect("a place"), options(moto));
    let whole = S3Sink::for_tests(BucketPlace::parse(&bucket).expect("a place"), options(moto));
    for sink in [&one, &other] {
        sink.create("scan=1/x").await.expect("begins").commit().await.expect("commits");
    }
    assert_eq!(one.list("scan=1").await.expect("lists"), ["scan=1/x"]);
    assert_eq!(one.folders().await.expect("named"), ["scan=1"]);
    assert_eq!(whole.folders().await.expect("named"), ["some"]);
    assert_eq!(whole.list("some").await.expect("lists").len(), 2);
}

#[tokio::test]
async fn objects_are_encrypted_with_the_key_that_was_named() {
    let (moto, plain) = sink().await;
    let options = SinkOptions { kms_key: Some("alias/results".into()), ..options(moto) };
    let sink = S3Sink::for_tests(plain.0.place.clone(), options);
    for (path, bytes) in [("s/small", vec![1]), ("s/large", large())] {
        let mut writer = sink.create(path).await.expect("begins");
        writer.write(bytes).await.expect("writes");
        writer.commit().await.expect("commits");
        let (bucket, key) = (&sink.0.place.bucket, sink.0.place.key(path).expect("a key"));
        let head =
            sink.0.client().await.expect("a client").head_object().bucket(bucket).key(key).send().await.expect("there");
        assert_eq!(head.ssekms_key_id(), Some("alias/results"), "{path}");
    }
}

#[tokio::test]
async fn more_files_than_a_page_are_listed_and_removed() {
    let (_moto, sink) = sink().await;
    let paths: Vec<String> = (0..1_050).map(|n| format!("s/{n:04}")).collect();
    for chunk in paths.chunks(50) {
        let puts = chunk.iter().map(|path| async {
            sink.create(path).await.expect("begins").commit().await.expect("commits");
        });
        futures_util::future::join_all(puts).await;
    }
    let mut found = sink.list("s").await.expect("lists");
    found.sort();
    assert_eq!(found, paths);
    sink.remove_all(&paths).await.expect("removes");
    assert!(sink.list("s").await.expect("lists").is_empty());
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let moto = Moto::shared();
    let sink = S3Sink::for_tests(BucketPlace::parse("nobody-made-it").expect("a place"), options(moto));
    let mut writer = sink.create("x").await.expect("begins");
    writer.write(vec![1]).await.expect("held");
    for answer in [writer.commit().await.err(), sink.folders().await.err(), sink.read("x").await.err()] {
        let Some(SinkError::Refused(text)) = answer else { panic!("{answer:?}") };
        assert!(text.contains("there is no bucket nobody-made-it") && text.contains("--out"), "{text}");
    }
}

/// What S3 says in each case, by its API Reference ("Error responses"); moto checks neither region nor permission.
#[tokio::test]
async fn refusals_say_what_to_mend() {
    let denied = "<Error><Code>AccessDenied</Code><Message>User: arn:aws:sts::1:assumed-role/Secret is not authorized \
                  to perform: kms:GenerateDataKey on resource: arn:aws:kms:k</Message></Error>";
    let region = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the \
                  region 'us-east-1' is wrong; expecting 'eu-west-3'</Message><Region>eu-west-3</Region></Error>";
    for (status, header, body, words) in [
        (
            403,
            "",
            "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
            "s3:PutObject is denied on the bucket some-bucket",
        ),
        (403, "", denied, "kms:GenerateDataKey is denied on the KMS key"),
        (
            301,
            "x-amz-bucket-region: eu-west-3\r\n",
            "<Error><Code>PermanentRedirect</Code></Error>",
            "--out-region eu-west-3",
        ),
        (400, "", region, "--out-region eu-west-3"),
        (403, "", "<Error><Code>InvalidAccessKeyId</Code></Error>", "does not accept the AWS credentials"),
        (400, "", "<Error><Code>KMS.DisabledException</Code></Error>", "KMS key"),
    ] {
        let answer = moto::answer(status, header, body);
        let endpoint = moto::answering(move |_| answer.clone());
        let options = SinkOptions {
            region: Some("us-east-1".into()),
            endpoint: Some(endpoint),
            kms_key: None,
            ..SinkOptions::default()
        };
        let sink = S3Sink::for_tests(BucketPlace::parse("some-bucket").expect("a place"), options);
        let mut writer = sink.create("x").await.expect("begins");
        writer.write(vec![1]).await.expect("held");
        let error = writer.commit().await.expect_err("refused");
        assert!(matches!(&error, SinkError::Refused(text) if text.contains(words)), "{status} {body}: {error:?}");
        assert!(!error.to_string().contains("Secret"), "{error}");
    }
}

/// Where the permission to list is bound to a prefix, S3 answers 403 for an object that is not there.
#[tokio::test]
async fn an_object_that_is_denied_and_not_listed_is_missing() {
    const DENIED: &str = "<Error><Code>AccessDenied</Code></Error>";
    for listed in [false, true] {
        let contents = if listed { "<Contents><Key>p/there</Key><Size>1</Size></Contents>" } else { "" };
        let list = moto::answer(200, "", &format!("<ListBucketResult>{contents}</ListBucketResult>"));
        let denied = moto::answer(403, "", DENIED);
        let endpoint =
            moto::answering(move |head| if head.contains("list-type=2") { list.clone() } else { denied.clone() });
        let options = SinkOptions {
            region: Some("us-east-1".into()),
            endpoint: Some(endpoint),
            kms_key: None,
            ..SinkOptions::default()
        };
        let sink = S3Sink::for_tests(BucketPlace::parse("some-bucket/p").expect("a place"), options);
        let error = sink.read("there").await.expect_err("denied");
        assert_eq!(matches!(error, SinkError::Missing(_)), !listed, "{error:?}");
        assert_eq!(error.to_string().contains("s3:GetObject is denied"), listed, "{error}");
    }
}
