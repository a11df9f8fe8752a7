use super::StoreFactory;
use fleetscan_proto::{Store, StoreError};
use std::time::Duration;
use tokio::{task::JoinSet, time::Instant};

/// Takes permits until one is refused; answers how many there were, and how long to wait.
async fn drain(store: &impl Store, bucket: &str, rate: f64, burst: f64) -> (u32, Duration) {
    for taken in 0..10_000 {
        if let Some(wait) = store.take_shared(bucket, rate, burst).await.expect("answers") {
            return (taken, wait);
        }
    }
    panic!("the bucket gives without end");
}

pub async fn a_shared_bucket_gives_its_burst_and_then_its_rate<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let (taken, wait) = drain(&store, "sts", 2.0, 5.0).await;
    assert_eq!(taken, 5);
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(500), "{wait:?}");
    let began = Instant::now();
    for _ in 0..6 {
        // Who waits as long as it was told gets a permit; a second refusal can only be for a rounded clock.
        let mut refusals = 0;
        while let Some(wait) = store.take_shared("sts", 2.0, 5.0).await.expect("answers") {
            refusals += 1;
            assert!(refusals <= 2 && wait <= Duration::from_millis(500), "{wait:?}");
            factory.pass(wait).await;
        }
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(2_400) && took < Duration::from_secs(4), "six permits took {took:?}");
}

pub async fn a_shared_bucket_fills_up_to_its_burst_and_no_further<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(drain(&store, "sts", 4.0, 3.0).await.0, 3);
    factory.pass(Duration::from_millis(550)).await;
    assert_eq!(drain(&store, "sts", 4.0, 3.0).await.0, 2, "half a second's");
    factory.pass(Duration::from_secs(5)).await;
    assert_eq!(drain(&store, "sts", 4.0, 3.0).await.0, 3, "the burst, however long nobody asked");
}

pub async fn shared_buckets_are_apart<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    assert_eq!(drain(&store, "sts", 1.0, 2.0).await.0, 2);
    assert_eq!(drain(&store, "organizations", 1.0, 3.0).await.0, 3);
}

pub async fn many_takers_get_no_more_than_one_would<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let mut takers = JoinSet::new();
    for _ in 0..50 {
        let store = store.clone();
        takers.spawn(async move { store.take_shared("sts", 0.01, 20.0).await.expect("answers") });
    }
    let granted = takers.join_all().await.into_iter().filter(Option::is_none).count();
    assert_eq!(granted, 20);
}

pub async fn a_bucket_that_would_never_give_is_refused<F: StoreFactory>(factory: &F) {
    let store = factory.open().await;
    let rates = [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300].map(|rate| (rate, 1.0));
    for (rate, burst) in rates.into_iter().chain([(1.0, 0.0), (1.0, f64::NAN), (1.0, f64::INFINITY)]) {
        let answer = store.take_shared("sts", rate, burst).await;
        assert!(matches!(answer, Err(StoreError::Refused(_))), "rate {rate}, burst {burst}: {answer:?}");
    }
}
