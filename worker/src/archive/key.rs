use fleetscan_proto::AccountId;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

/// The key of a log file (AWS CloudTrail User Guide, "Finding your CloudTrail log files"):
/// `[prefix/]AWSLogs/[o-…/]<account>/CloudTrail/<region>/<yyyy>/<mm>/<dd>/<account>_CloudTrail_<region>_<stamp>_<unique>.json.gz`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogKey {
    /// All of it.
    pub key: String,
    /// The minute in which it was delivered, as its first second since 1970. What it tells of was done before the end of
    /// that minute.
    pub stamp: i64,
}

impl LogKey {
    /// Reads a key of the folder of an account's region (`…/<region>/`). Digests, insights and whatever else lies there
    /// are no log files.
    pub fn parse(folder: &str, account: &AccountId, region: &str, key: &str) -> Option<Self> {
        let rest = key.strip_prefix(folder)?;
        let [year, month, day, name] = rest.split('/').collect::<Vec<_>>()[..] else { return None };
        let rest = name.strip_prefix(&file_prefix(account, region))?.strip_suffix(".json.gz")?;
        let (stamp, unique) = rest.split_once('_')?;
        let is_unique = (1..=64).contains(&unique.len()) && unique.bytes().all(|b| b.is_ascii_alphanumeric());
        let fits = is_unique && stamp.get(..8) == Some(&format!("{year}{month}{day}")) && stamp.len() == 14;
        let time = DateTime::strptime("%Y%m%dT%H%MZ", stamp).ok().filter(|_| fits)?;
        let stamp = time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_second();
        Some(Self { key: key.to_owned(), stamp })
    }

    /// Whether a key is called as log files are, as far as that tells whose it is: one that is, and cannot be read, may be
    /// one all the same.
    pub(crate) fn is_like(account: &AccountId, region: &str, key: &str) -> bool {
        key.rsplit('/').next().unwrap_or(key).starts_with(&file_prefix(account, region))
    }

    /// Without its folders.
    pub fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or(&self.key)
    }
}

fn file_prefix(account: &AccountId, region: &str) -> String {
    format!("{account}_CloudTrail_{region}_")
}

/// Folder of the day of a second, below the region's.
pub(crate) fn day_folder(folder: &str, second: i64) -> String {
    format!("{folder}{}", Timestamp::from_second(second).unwrap_or_default().strftime("%Y/%m/%d/"))
}

/// What every key of that minute and later ones of its day comes after, and no earlier one does.
pub(crate) fn before_minute(folder: &str, account: &AccountId, region: &str, second: i64) -> String {
    let stamp = Timestamp::from_second(second).unwrap_or_default().strftime("%Y%m%dT%H%M").to_string();
    format!("{}{}{stamp}", day_folder(folder, second), file_prefix(account, region))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: &str = "org/AWSLogs/111122223333/CloudTrail/eu-west-1/";

    fn parse(rest: &str) -> Option<LogKey> {
        let account = "111122223333".parse().expect("an id");
        LogKey::parse(FOLDER, &account, "eu-west-1", &format!("{FOLDER}{rest}"))
    }

    #[test]
    fn a_log_file_tells_when_it_was_delivered() {
        let name = "111122223333_CloudTrail_eu-west-1_20260102T0304Z_Q7wE9xkLmN0pRsTu.json.gz";
        let read = parse(&format!("2026/01/02/{name}")).expect("a log file");
        assert_eq!(Timestamp::from_second(read.stamp).expect("a time").to_string(), "2026-01-02T03:04:00Z");
        assert_eq!(read.name(), name);
        let account = "111122223333".parse().expect("an id");
        let before = before_minute(FOLDER, &account, "eu-west-1", read.stamp + 59);
        assert!(before < read.key && read.key.starts_with(&before));
        assert!(before_minute(FOLDER, &account, "eu-west-1", read.stamp + 60) > read.key);
    }

    #[test]
    fn nothing_else_is_a_log_file() {
        for rest in [
            "",
            "2026/01/02/",
            "2026/01/02/notes.json.gz",
            "2026/01/02/444455556666_CloudTrail_eu-west-1_20260102T0304Z_Q7wE.json.gz",
            "2026/01/02/111122223333_CloudTrail_us-east-1_20260102T0304Z_Q7wE.json.gz",
            "2026/01/02/111122223333_CloudTrail-Digest_eu-west-1_20260102T0304Z_Q7wE.json.gz",
            "2026/01/03/111122223333_CloudTrail_eu-west-1_20260102T0304Z_Q7wE.json.gz",
            "2026/01/02/111122223333_CloudTrail_eu-west-1_20260102T2504Z_Q7wE.json.gz",
            "2026/01/02/111122223333_CloudTrail_eu-west-1_20260102T030405Z_Q7wE.json.gz",
            "2026/01/02/111122223333_CloudTrail_eu-west-1_20260102T0304Z_Q7wE.json",
            "2026/01/02/111122223333_CloudTrail_eu-west-1_20260102T0304Z_..json.gz",
            "2026/01/02/../02/111122223333_CloudTrail_eu-west-1_20260102T0304Z_Q7wE.json.gz",
            "2026/01/02/x/111122223333_CloudTrail_eu-west-1_20260102T0304Z_Q7wE.json.gz",
        ] {
            assert_eq!(parse(rest), None, "{rest}");
        }
    }
}
