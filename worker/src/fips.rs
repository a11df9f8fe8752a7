//! Where AWS offers endpoints that keep to FIPS 140: a table, since a host that is made up by a pattern may not be there.

use std::{collections::HashMap, sync::LazyLock};

static HOSTS: LazyLock<HashMap<(&'static str, &'static str), &'static str>> = LazyLock::new(|| {
    let lines = include_str!("fips.tsv").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let mut fields = line.split('\t');
            Some(((fields.next()?, fields.next()?), fields.next()?))
        })
        .collect()
});

/// The host of a service's FIPS endpoint, by the catalogue's id and the region that calls are signed for.
pub fn host(service: &str, region: &str) -> Option<&'static str> {
    HOSTS.get(&(service, region)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetscan_proto::catalogue::Catalogue;

    #[test]
    fn hosts_are_those_that_aws_lists_and_nothing_is_made_up() {
        assert_eq!(host("lambda", "us-east-1"), Some("lambda-fips.us-east-1.amazonaws.com"));
        assert_eq!(host("eks", "us-east-1"), Some("fips.eks.us-east-1.amazonaws.com"));
        assert_eq!(host("iam", "us-east-1"), Some("iam-fips.amazonaws.com"));
        assert_eq!((host("lambda", "eu-west-1"), host("account", "us-east-1")), (None, None));
    }

    #[test]
    fn every_line_is_of_a_service_of_the_catalogue() {
        assert!(HOSTS.len() > 100);
        for (service, region) in HOSTS.keys() {
            assert!(Catalogue::built_in().service(service).is_some(), "{service}");
            assert!(fleetscan_proto::is_region_shaped(region), "{region}");
        }
    }
}
