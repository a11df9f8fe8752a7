//! What is known of the trails that deliver log files. A file proves what it holds, and not that nothing else was done:
//! that is known only of a trail that is on, and told to record every management event.
//!
//! Sources: AWS CloudTrail API Reference, DescribeTrails, GetTrailStatus, GetEventSelectors, AdvancedFieldSelector.

use super::second;
use fleetscan_proto::TrailBucket;
use serde_json::Value;

/// A trail that delivers into a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trail {
    pub(super) arn: String,
    /// It delivers into the organisation's folder, others into the account's own.
    pub(super) organisation: bool,
    /// It has what is done without a region, too.
    global: bool,
}

impl Trail {
    /// The trails, of an answer of DescribeTrails, that deliver a region's events there.
    pub(super) fn delivering(answer: &Value, bucket: &TrailBucket, region: &str) -> Vec<Self> {
        let trails = answer.get("trailList").and_then(Value::as_array).into_iter().flatten();
        let text = |trail: &Value, name: &str| trail.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let is = |trail: &Value, name: &str| trail.get(name).and_then(Value::as_bool).unwrap_or_default();
        let there = |trail: &&Value| {
            text(trail, "S3BucketName") == bucket.bucket()
                && text(trail, "S3KeyPrefix").trim_end_matches('/') == bucket.prefix().trim_end_matches('/')
                && (is(trail, "IsMultiRegionTrail") || text(trail, "HomeRegion") == region)
        };
        let trail = |trail: &Value| Self {
            arn: text(trail, "TrailARN"),
            organisation: is(trail, "IsOrganizationTrail"),
            global: is(trail, "IncludeGlobalServiceEvents"),
        };
        trails.filter(there).map(trail).collect()
    }

    /// Since which second it records every management event without a break, if it is known to do.
    pub(super) fn records_all_since(&self, status: &Value, selectors: &Value) -> Option<i64> {
        let is_on = status.get("IsLogging").and_then(Value::as_bool) == Some(true);
        let delivers = status.get("LatestDeliveryError").and_then(Value::as_str).is_none_or(str::is_empty);
        (self.global && is_on && delivers && records_all(selectors)).then(|| second(status.get("StartLoggingTime")?))?
    }
}

/// Whether one of a trail's selectors is for all management events.
fn records_all(answer: &Value) -> bool {
    let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let basic = |selector: &Value| {
        selector.get("ReadWriteType").and_then(Value::as_str) == Some("All")
            && selector.get("IncludeManagementEvents").and_then(Value::as_bool) == Some(true)
            && list(selector, "ExcludeManagementEventSources").is_empty()
    };
    // Whatever else a selector has narrows it.
    let advanced = |selector: &Value| {
        let fields = list(selector, "FieldSelectors");
        let [field] = fields.as_slice() else { return false };
        field.get("Field").and_then(Value::as_str) == Some("eventCategory")
            && list(field, "Equals") == ["Management"]
            && field.as_object().is_some_and(|members| {
                members.iter().all(|(name, value)| {
                    ["Field", "Equals"].contains(&name.as_str())
                        || value.is_null()
                        || value.as_array().is_some_and(Vec::is_empty)
                })
            })
    };
    list(answer, "EventSelectors").iter().any(basic) || list(answer, "AdvancedEventSelectors").iter().any(advanced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn trail() -> Value {
        json!({
            "TrailARN": "arn", "S3BucketName": "logs", "S3KeyPrefix": "org", "IsMultiRegionTrail": true,
            "HomeRegion": "us-east-1", "IsOrganizationTrail": false, "IncludeGlobalServiceEvents": true,
        })
    }

    fn delivering(change: Value) -> Vec<Trail> {
        let mut trail = trail();
        for (name, value) in change.as_object().expect("an object") {
            trail[name] = value.clone();
        }
        Trail::delivering(&json!({ "trailList": [trail] }), &"logs/org".parse().expect("a bucket"), "eu-west-1")
    }

    #[test]
    fn only_trails_that_deliver_there_say_anything_of_it() {
        assert_eq!(delivering(json!({})).len(), 1);
        assert_eq!(delivering(json!({ "IsMultiRegionTrail": false, "HomeRegion": "eu-west-1" })).len(), 1);
        for other in [
            json!({ "S3BucketName": "other" }),
            json!({ "S3KeyPrefix": null }),
            json!({ "S3KeyPrefix": "org/eu" }),
            json!({ "IsMultiRegionTrail": false }),
        ] {
            assert!(delivering(other.clone()).is_empty(), "{other}");
        }
    }

    #[test]
    fn nothing_less_than_all_management_events_of_a_trail_that_is_on_is_all() {
        let on = json!({ "IsLogging": true, "StartLoggingTime": 1_767_323_045.5 });
        let all = json!({ "EventSelectors": [{ "ReadWriteType": "All", "IncludeManagementEvents": true, "ExcludeManagementEventSources": [] }] });
        let field = |more: Value| {
            let mut fields = vec![json!({ "Field": "eventCategory", "Equals": ["Management"] })];
            fields.extend(more.as_array().expect("a list").iter().cloned());
            json!({ "AdvancedEventSelectors": [{ "FieldSelectors": fields }] })
        };
        let [whole] = &delivering(json!({}))[..] else { panic!("one") };
        assert_eq!(whole.records_all_since(&on, &all), Some(1_767_323_045));
        assert_eq!(whole.records_all_since(&on, &field(json!([]))), Some(1_767_323_045));
        for status in [
            json!({}),
            json!({ "IsLogging": false, "StartLoggingTime": 5 }),
            json!({ "IsLogging": true }),
            json!({ "IsLogging": true, "StartLoggingTime": 5, "LatestDeliveryError": "AccessDenied" }),
        ] {
            assert_eq!(whole.records_all_since(&status, &all), None, "{status}");
        }
        let basic = |selector: Value| json!({ "EventSelectors": [selector] });
        for selectors in [
            json!({}),
            basic(json!({ "ReadWriteType": "WriteOnly", "IncludeManagementEvents": true })),
            basic(json!({ "ReadWriteType": "All", "IncludeManagementEvents": false })),
            basic(json!({
                "ReadWriteType": "All", "IncludeManagementEvents": true,
                "ExcludeManagementEventSources": ["kms.amazonaws.com"],
            })),
            field(json!([{ "Field": "readOnly", "Equals": ["false"] }])),
            field(json!([{ "Field": "eventSource", "NotEquals": ["kms.amazonaws.com"] }])),
            json!({ "AdvancedEventSelectors": [{ "FieldSelectors": [{ "Field": "eventCategory", "Equals": ["Data"] }] }] }),
        ] {
            assert_eq!(whole.records_all_since(&on, &selectors), None, "{selectors}");
        }
        let [less] = &delivering(json!({ "IncludeGlobalServiceEvents": false }))[..] else { panic!("one") };
        assert_eq!(less.records_all_since(&on, &all), None);
    }
}
