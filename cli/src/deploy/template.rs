use fleetscan_proto::{
    EXTERNAL_ID_LENGTH, Profile,
    catalogue::{Catalogue, Service},
};
use fleetscan_worker::policy::{self, POLICY_VERSION, ROLE_NAME, Statement};
use std::{fmt::Write as _, sync::Arc};

/// For one account, or for the accounts of an organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// A stack in one account.
    Role,
    /// A StackSet's: it may be deployed to several regions, and makes the role in one of them.
    StackSet,
}

/// The CloudFormation template of the role that grants a profile, and nothing more.
pub fn template(profile: &Profile, part: &Catalogue, variant: Variant) -> String {
    let policies = policy::role_policies(part);
    let mut yaml = String::new();
    head(&mut yaml, profile, part, variant);
    parameters(&mut yaml, variant);
    conditions(&mut yaml, variant);
    yaml.push_str("\nResources:\n");
    role(&mut yaml, profile, policies.len(), variant);
    for (n, statements) in policies.iter().enumerate() {
        managed_policy(&mut yaml, n + 1, statements, profile, variant);
    }
    archive_policy(&mut yaml);
    outputs(&mut yaml, profile, variant);
    yaml
}

/// Adds a line.
macro_rules! line {
    ($yaml:expr, $($text:tt)*) => {{ let _ = writeln!($yaml, $($text)*); }};
}
pub(super) use line;

fn head(yaml: &mut String, profile: &Profile, part: &Catalogue, variant: Variant) {
    let what = match variant {
        Variant::Role => "A role",
        Variant::StackSet => "For a StackSet: in every account a role",
    };
    line!(
        yaml,
        "# Generated from fleetscan's catalogue by `fleetscan catalogue write`; edit the catalogue, not this file."
    );
    line!(yaml, "AWSTemplateFormatVersion: \"2010-09-09\"");
    line!(yaml, "Description: >-");
    line!(yaml, "  {what} that lets fleetscan read configuration metadata, and nothing else.");
    line!(yaml, "  Profile {profile}: {}.", profile.title());
    // The version alone would not tell that this is more than fleetscan's own list.
    let is_added = |service: &&Arc<Service>| Catalogue::built_in().service(&service.id).is_none();
    let added: Vec<&str> = part.services().iter().filter(is_added).map(|service| service.title.as_str()).collect();
    if !added.is_empty() {
        line!(yaml, "  Of the operator's own services in it: {}.", added.join(", "));
    }
    line!(
        yaml,
        "\nMetadata:\n  Fleetscan:\n    Profile: {}\n    ProfileVersion: {}",
        profile.name(),
        profile.version()
    );
}

fn parameters(yaml: &mut String, variant: Variant) {
    let (least, most) = (EXTERNAL_ID_LENGTH.start(), EXTERNAL_ID_LENGTH.end());
    let _ = write!(
        yaml,
        r#"
Parameters:
  HubPrincipal:
    Type: String
    Description: ARN of the AWS principal that fleetscan runs as; it alone may assume the role
    AllowedPattern: ^arn:aws[a-z-]*:iam::\d{{12}}:(root|(role|user)/[\w+=,.@/-]+)$
    ConstraintDescription: arn:aws:iam::<12 digits>:role/<name>, as the operator of fleetscan gave it to you
  ExternalId:
    Type: String
    NoEcho: true
    Description: The ExternalId that the operator of fleetscan gave you; keep it as you keep a password
    MinLength: {least}
    MaxLength: {most}
    AllowedPattern: ^[\w+=,.@:/-]*$
    ConstraintDescription: {least} to {most} letters, digits and characters of _+=,.@:/-
  RoleName:
    Type: String
    Description: Name of the role; the operator's own permissions are bound to it
    Default: {ROLE_NAME}
    MinLength: 1
    MaxLength: 64
    AllowedPattern: ^[\w+=,.@-]+$
  CloudTrailBucketArn:
    Type: String
    Description: >-
      Only to let fleetscan read CloudTrail's log files: ARN of the bucket that they are in. Empty, nothing of any
      bucket's content can be read
    Default: ""
    AllowedPattern: ^(arn:aws[a-z-]*:s3:::[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])?$
    ConstraintDescription: arn:aws:s3:::<bucket>, or empty
  PermissionsBoundaryArn:
    Type: String
    Description: ARN of a permissions boundary for the role, if your account wants one; permissions-boundary.yaml makes it
    Default: ""
    AllowedPattern: ^(arn:aws[a-z-]*:iam::(\d{{12}}|aws):policy/[\w+=,.@/-]+)?$
    ConstraintDescription: arn:aws:iam::<12 digits>:policy/<name>, or empty
"#
    );
    if variant == Variant::StackSet {
        yaml.push_str(
            r#"  HomeRegion:
    Type: String
    Description: The region of the StackSet in which the role is made; roles hold in every region
    Default: us-east-1
    AllowedPattern: ^[a-z]{2}(-[a-z]+)+-\d$
    ConstraintDescription: a region's name, such as us-east-1
"#,
        );
    }
}

fn conditions(yaml: &mut String, variant: Variant) {
    yaml.push_str("\nConditions:\n");
    yaml.push_str("  HasBoundary: !Not [!Equals [!Ref PermissionsBoundaryArn, \"\"]]\n");
    match variant {
        Variant::Role => yaml.push_str("  ReadsArchive: !Not [!Equals [!Ref CloudTrailBucketArn, \"\"]]\n"),
        Variant::StackSet => {
            yaml.push_str("  IsHome: !Equals [!Ref AWS::Region, !Ref HomeRegion]\n");
            yaml.push_str(
                "  ReadsArchive: !And [Condition: IsHome, !Not [!Equals [!Ref CloudTrailBucketArn, \"\"]]]\n",
            );
        }
    }
}

/// In a StackSet, resources are made in one region only.
fn condition(yaml: &mut String, variant: Variant) {
    if variant == Variant::StackSet {
        yaml.push_str("    Condition: IsHome\n");
    }
}

fn role(yaml: &mut String, profile: &Profile, policies: usize, variant: Variant) {
    yaml.push_str("  Role:\n    Type: AWS::IAM::Role\n");
    condition(yaml, variant);
    let _ = write!(
        yaml,
        r#"    Properties:
      RoleName: !Ref RoleName
      Description: Lets fleetscan read configuration metadata; profile {profile}
      MaxSessionDuration: 3600
      PermissionsBoundary: !If [HasBoundary, !Ref PermissionsBoundaryArn, !Ref AWS::NoValue]
      AssumeRolePolicyDocument:
        Version: "{POLICY_VERSION}"
        Statement:
          - Sid: FleetscanWithTheExternalId
            Effect: Allow
            Principal:
              AWS: !Ref HubPrincipal
            Action: sts:AssumeRole
            Condition:
              StringEquals:
                sts:ExternalId: !Ref ExternalId
      ManagedPolicyArns:
"#
    );
    for n in 1..=policies {
        line!(yaml, "        - !Ref Read{n}");
    }
    yaml.push_str("        - !If [ReadsArchive, !Ref ReadArchive, !Ref AWS::NoValue]\n");
    yaml.push_str("      Tags:\n");
    line!(yaml, "        - {{ Key: fleetscan-profile, Value: {} }}", profile.name());
    line!(yaml, "        - {{ Key: fleetscan-profile-version, Value: \"{}\" }}", profile.version());
}

fn managed_policy(yaml: &mut String, n: usize, statements: &[Statement], profile: &Profile, variant: Variant) {
    line!(yaml, "  Read{n}:\n    Type: AWS::IAM::ManagedPolicy");
    condition(yaml, variant);
    line!(yaml, "    Properties:");
    line!(yaml, "      ManagedPolicyName: !Sub ${{RoleName}}-{n}");
    line!(yaml, "      Description: What fleetscan reads; profile {profile}, part {n}");
    line!(yaml, "      PolicyDocument:");
    line!(yaml, "        Version: \"{POLICY_VERSION}\"");
    line!(yaml, "        Statement:");
    for statement in statements {
        line!(yaml, "          - Sid: {}", statement.sid);
        line!(yaml, "            Effect: Allow");
        line!(yaml, "            Resource: \"*\"");
        line!(yaml, "            Action:");
        for action in &statement.actions {
            line!(yaml, "              - {action}");
        }
    }
}

/// One bucket, where the customer named it.
fn archive_policy(yaml: &mut String) {
    let _ = write!(
        yaml,
        r#"  ReadArchive:
    Type: AWS::IAM::ManagedPolicy
    Condition: ReadsArchive
    Properties:
      ManagedPolicyName: !Sub ${{RoleName}}-CloudTrailArchive
      Description: Lets fleetscan read CloudTrail's log files in one bucket
      PolicyDocument:
        Version: "{POLICY_VERSION}"
        Statement:
          - Sid: ListLogFiles
            Effect: Allow
            Action: s3:ListBucket
            Resource: !Ref CloudTrailBucketArn
          - Sid: ReadLogFiles
            Effect: Allow
            Action: s3:GetObject
            Resource: !Sub ${{CloudTrailBucketArn}}/*
"#
    );
}

fn outputs(yaml: &mut String, profile: &Profile, variant: Variant) {
    yaml.push_str("\nOutputs:\n  RoleArn:\n");
    condition(yaml, variant);
    yaml.push_str("    Description: Give it to the operator of fleetscan\n    Value: !GetAtt Role.Arn\n");
    yaml.push_str("  Profile:\n");
    line!(yaml, "    Description: What the role grants\n    Value: {}@{}", profile.name(), profile.version());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_action_of_a_role_has_a_wildcard_and_only_the_archive_reads_objects() {
        for profile in Profile::all_built_in() {
            let part = profile.of(Catalogue::built_in()).expect("sound");
            for variant in [Variant::Role, Variant::StackSet] {
                let text = template(profile, &part, variant);
                let (before, archive) = text.split_once("  ReadArchive:\n").expect("there");
                assert!(!before.contains("s3:GetObject\n") && archive.contains("Action: s3:GetObject\n"));
                for action in before.lines().filter_map(|line| line.strip_prefix("              - ")) {
                    assert!(!action.contains('*') && action.contains(':'), "{action}");
                }
                assert!(text.contains(&format!("Profile {} version {}", profile.name(), profile.version())));
            }
        }
    }
}
