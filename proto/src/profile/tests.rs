use super::*;

fn narrowed(text: &str) -> Result<Catalogue, ProfileError> {
    Profile::parse("own.toml", &format!("name = \"own\"\nversion = 1\ntitle = \"t\"\n{text}"))?
        .of(Catalogue::built_in())
}

fn actions(catalogue: &Catalogue) -> Vec<&str> {
    let mut all: Vec<&str> =
        catalogue.services().iter().flat_map(|s| &s.operations).map(|o| o.action.as_str()).collect();
    all.sort_unstable();
    all
}

#[test]
fn every_built_in_profile_is_a_part_of_the_catalogue() {
    for profile in Profile::all_built_in() {
        let part = profile.of(Catalogue::built_in()).expect("sound");
        assert!(part.operation("sts", "GetCallerIdentity").is_some(), "{profile}");
        assert!(part.operation("sts", "AssumeRole").is_none(), "{profile}");
        for service in part.services() {
            for operation in &service.operations {
                let parent = operation.parent.as_ref().map(|p| &service.operations[p.operation]);
                assert!(parent.is_none_or(|p| p.index < operation.index), "{}:{}", service.id, operation.name);
                assert!(operation.opt_in.is_none() || operation.probe, "{}:{}", service.id, operation.name);
            }
        }
    }
    assert!(Profile::built_in(DEFAULT_PROFILE).is_some());
}

#[test]
fn minimal_is_exactly_four_actions() {
    let part = Profile::built_in("minimal").expect("there").of(Catalogue::built_in()).expect("sound");
    assert_eq!(
        actions(&part),
        ["ec2:DescribeInstances", "ec2:DescribeRegions", "s3:ListAllMyBuckets", "sts:GetCallerIdentity"]
    );
}

#[test]
fn the_agreed_grant_has_no_instances_and_no_list_of_regions() {
    let part = Profile::built_in("securityv0").expect("there").of(Catalogue::built_in()).expect("sound");
    assert!(part.service("ec2").is_none() && part.service("account").is_none());
    assert!(part.operation("iam", "ListUsers").is_some() && part.operation("lambda", "GetPolicy").is_some());
}

#[test]
fn a_service_of_which_the_probe_alone_has_a_use_has_no_cells() {
    let part = narrowed("categories = []\noperations = [\"ec2:DescribeRegions\"]").expect("sound");
    assert_eq!(part.scanned().count(), 0);
    assert!(part.service("ec2").is_some());
}

#[test]
fn parents_joins_and_fallbacks_are_found_again_after_narrowing() {
    let part = narrowed("services = [\"lambda\"]\nexcept = [\"lambda:GetFunction\"]").expect("sound");
    let lambda = part.service("lambda").expect("there");
    let configuration = lambda.operation("GetFunctionConfiguration").expect("there");
    assert_eq!(configuration.fallback_for, None, "nothing is left that it could help out");
    let parent = configuration.parent.as_ref().expect("a child");
    assert_eq!(lambda.operations[parent.operation].name, "ListFunctions");
    assert_ne!(part.digest(), Catalogue::built_in().digest());
}

#[test]
fn what_is_to_be_asked_for_can_be_asked_for() {
    let part = narrowed("operations = [\"dynamodb:DescribeLimits\"]").expect("sound");
    assert_eq!(part.operation("dynamodb", "DescribeLimits").expect("there").opt_in, None);
    let without = narrowed("services = [\"s3control\"]").expect("sound");
    assert!(without.operation("s3control", "GetAccessPointPolicy").is_none(), "nothing lists what it is called for");
    let part = narrowed("services = [\"s3control\"]\noperations = [\"s3control:ListAccessPoints\"]").expect("sound");
    assert!(part.operation("s3control", "GetAccessPointPolicy").is_some());
}

#[test]
fn mistakes_in_a_profile_are_named() {
    for (text, says) in [
        ("services = [\"lamda\"]", "no lamda in the catalogue"),
        ("operations = [\"lambda:Invoke\"]", "no lambda:Invoke in the catalogue"),
        ("operations = [\"lambda:GetPolicy\"]", "lambda:ListFunctions lists: take both"),
        ("categories = [\"identities\"]", "unknown variant `identities`"),
        ("category = \"identity\"", "unknown field"),
    ] {
        let error = narrowed(text).expect_err(text).to_string();
        assert!(error.contains(says), "{error}");
    }
    let error = Profile::parse("x.toml", "name = \"A b\"\nversion = 1\ntitle = \"t\"").expect_err("a space");
    assert!(error.to_string().contains("lower-case"), "{error}");
}
