/// The regions that every new account of the commercial partition has enabled.
/// Source: AWS Account Management guide, "Enable or disable AWS Regions in your account" (regions introduced before
/// 20 March 2019).
pub const DEFAULT_REGIONS: [&str; 17] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "sa-east-1",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "ap-south-1",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "ap-southeast-2",
];

/// Regions that fleetscan has heard of; another well-shaped name earns a warning, never a refusal.
pub const KNOWN_REGIONS: [&str; 41] = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "ca-west-1",
    "mx-central-1",
    "sa-east-1",
    "eu-central-1",
    "eu-central-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "ap-south-1",
    "ap-south-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ap-east-1",
    "ap-east-2",
    "me-south-1",
    "me-central-1",
    "il-central-1",
    "af-south-1",
    "us-gov-east-1",
    "us-gov-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "us-iso-east-1",
    "us-isob-east-1",
    "eusc-de-east-1",
];

/// Whether the text has the shape of a region name: lower-case words and a number, `eu-west-1`.
pub fn is_region_shaped(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let word = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let Some((number, words)) = parts.split_last() else { return false };
    (2..=4).contains(&words.len())
        && words.iter().all(word)
        && (1..=2).contains(&number.len())
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// The partition of a region: its ARN prefix and its DNS suffix.
pub fn partition_of(region: &str) -> (&'static str, &'static str) {
    match region {
        r if r.starts_with("cn-") => ("aws-cn", "amazonaws.com.cn"),
        r if r.starts_with("us-gov-") => ("aws-us-gov", "amazonaws.com"),
        r if r.starts_with("us-isob-") => ("aws-iso-b", "sc2s.sgov.gov"),
        r if r.starts_with("us-iso-") => ("aws-iso", "c2s.ic.gov"),
        r if r.starts_with("eusc-") => ("aws-eusc", "amazonaws.eu"),
        _ => ("aws", "amazonaws.com"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_regions_have_the_shape_of_a_region() {
        assert!(KNOWN_REGIONS.iter().chain(&DEFAULT_REGIONS).all(|r| is_region_shaped(r)));
        for text in ["", "eu", "eu-west", "EU-west-1", "eu_west_1", "eu-west-1a", "-1", "eu--1", "eu-west-123"] {
            assert!(!is_region_shaped(text), "{text:?}");
        }
    }
}
