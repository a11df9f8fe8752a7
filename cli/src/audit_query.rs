//! `fleetscan accounts audit-query`: how a customer checks in their own CloudTrail what was done on the role's sessions.
//!
//! Field names are CloudTrail's (User Guide, "CloudTrail record contents"); the Athena queries stand on the table that
//! Athena's guide creates for CloudTrail logs, named `cloudtrail_logs`.

use crate::{args::AuditPlace, failure::Failure};
use fleetscan_proto::AccountId;
use std::io::Write;

/// What is asked for.
pub struct AuditQuery {
    pub account: Option<AccountId>,
    pub place: AuditPlace,
    pub days: u16,
    pub session_prefix: String,
}

/// A question, its name for people, and its query in both languages.
struct Question {
    title: &'static str,
    lake: String,
    athena: String,
}

impl AuditQuery {
    /// Writes the queries.
    pub fn write(&self, out: &mut impl Write) -> Result<(), Failure> {
        let odd = |c: char| !(c.is_ascii_alphanumeric() || "_+=,.@-".contains(c));
        if self.session_prefix.is_empty() || self.session_prefix.contains(odd) {
            return Err(Failure::usage("--session-prefix: letters, digits and _+=,.@- make a session's name"));
        }
        for Question { title, lake, athena } in self.questions() {
            if self.place != AuditPlace::Athena {
                writeln!(out, "-- {title} (CloudTrail Lake)\n{lake}\n")?;
            }
            if self.place != AuditPlace::Lake {
                writeln!(out, "-- {title} (Athena)\n{athena}\n")?;
            }
        }
        Ok(())
    }

    fn questions(&self) -> [Question; 3] {
        let (lake, athena) = (self.lake(), self.athena());
        [
            Question {
                title: "Every operation that was called, how often, and whether it only read: `readonly` must be true in each row",
                lake: format!(
                    "SELECT eventSource, eventName, readOnly, count(*) AS calls, max(eventTime) AS last\nFROM <event data store id>\nWHERE {lake}\nGROUP BY eventSource, eventName, readOnly\nORDER BY readOnly, calls DESC;"
                ),
                athena: format!(
                    "SELECT eventsource, eventname, readonly, count(*) AS calls, max(eventtime) AS last\nFROM cloudtrail_logs\nWHERE {athena}\nGROUP BY eventsource, eventname, readonly\nORDER BY readonly, calls DESC;"
                ),
            },
            Question {
                title: "Calls that did not only read, one by one: must answer no row",
                lake: format!(
                    "SELECT eventTime, eventSource, eventName, userIdentity.arn, sourceIPAddress, requestID\nFROM <event data store id>\nWHERE {lake}\n  AND (readOnly IS NULL OR readOnly = false)\nORDER BY eventTime DESC;"
                ),
                athena: format!(
                    "SELECT eventtime, eventsource, eventname, useridentity.arn, sourceipaddress, requestid\nFROM cloudtrail_logs\nWHERE {athena}\n  AND (readonly IS NULL OR readonly <> 'true')\nORDER BY eventtime DESC;"
                ),
            },
            Question {
                title: "Who assumed the role, from where, and under which session names",
                lake: format!(
                    "SELECT eventTime, userIdentity.accountId AS caller, sourceIPAddress, element_at(requestParameters, 'roleSessionName') AS session, errorCode\nFROM <event data store id>\nWHERE eventSource = 'sts.amazonaws.com' AND eventName = 'AssumeRole'\n  AND element_at(requestParameters, 'roleSessionName') LIKE '{}-%'\n  AND {}\nORDER BY eventTime DESC;",
                    self.session_prefix,
                    self.lake_period()
                ),
                athena: format!(
                    "SELECT eventtime, useridentity.accountid AS caller, sourceipaddress, json_extract_scalar(requestparameters, '$.roleSessionName') AS session, errorcode\nFROM cloudtrail_logs\nWHERE eventsource = 'sts.amazonaws.com' AND eventname = 'AssumeRole'\n  AND json_extract_scalar(requestparameters, '$.roleSessionName') LIKE '{}-%'\n  AND {}\nORDER BY eventtime DESC;",
                    self.session_prefix,
                    self.athena_period()
                ),
            },
        ]
    }

    /// A session's ARN ends with its name: `arn:aws:sts::111122223333:assumed-role/<role>/<prefix>-<account>-<epoch>`.
    fn sessions(&self) -> String {
        let account = self.account.as_ref().map_or("%", AccountId::as_str);
        format!("arn:aws%:sts::{account}:assumed-role/%/{}-{account}-%", self.session_prefix)
    }

    fn lake(&self) -> String {
        format!("userIdentity.arn LIKE '{}'\n  AND {}", self.sessions(), self.lake_period())
    }

    fn athena(&self) -> String {
        format!("useridentity.arn LIKE '{}'\n  AND {}", self.sessions(), self.athena_period())
    }

    fn lake_period(&self) -> String {
        format!("eventTime > date_add('day', -{}, now())", self.days)
    }

    fn athena_period(&self) -> String {
        format!("from_iso8601_timestamp(eventtime) > date_add('day', -{}, now())", self.days)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(account: Option<&str>, place: AuditPlace, prefix: &str) -> Result<String, Failure> {
        let account = account.map(|id| id.parse().expect("twelve digits"));
        let query = AuditQuery { account, place, days: 7, session_prefix: prefix.to_owned() };
        let mut out = Vec::new();
        query.write(&mut out)?;
        Ok(String::from_utf8(out).expect("text"))
    }

    #[test]
    fn each_language_asks_the_same_three_questions_of_our_sessions() {
        for place in [AuditPlace::Lake, AuditPlace::Athena] {
            let text = text(Some("111122223333"), place, "SecurityV0").expect("written");
            assert_eq!(text.matches("SELECT").count(), 3);
            assert_eq!(text.matches("sts::111122223333:assumed-role/%/SecurityV0-111122223333-%").count(), 2);
            assert_eq!(text.matches("'SecurityV0-%'").count(), 1);
            assert_eq!(text.matches("date_add('day', -7, now())").count(), 3);
        }
        assert_eq!(text(None, AuditPlace::All, "SecurityV0").expect("written").matches("SELECT").count(), 6);
    }

    #[test]
    fn a_prefix_cannot_break_out_of_the_query() {
        for prefix in ["", "x' OR '1'='1", "a b"] {
            text(None, AuditPlace::All, prefix).expect_err("refused");
        }
    }
}
