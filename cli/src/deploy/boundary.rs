use super::template::line;
use fleetscan_worker::policy::{BoundaryStatement, POLICY_VERSION};
use std::fmt::Write as _;

/// The CloudFormation template of the permissions boundary. With the bucket of CloudTrail's log files, that one bucket's
/// content is let through.
pub fn template(statements: &[BoundaryStatement; 2]) -> String {
    let [allow, deny] = statements;
    let of_buckets = |action: &&String| action.starts_with("s3:");
    let mut yaml = format!(
        r#"# Generated from fleetscan's catalogue by `fleetscan catalogue write`; edit the catalogue, not this file.
AWSTemplateFormatVersion: "2010-09-09"
Description: >-
  A permissions boundary for fleetscan's role: whatever is attached to it, the role can read configuration metadata,
  and neither secrets nor data.

Parameters:
  PolicyName:
    Type: String
    Description: Name of the boundary
    Default: SecurityV0Boundary
    MinLength: 1
    MaxLength: 128
    AllowedPattern: ^[\w+=,.@-]+$
  CloudTrailBucketArn:
    Type: String
    Description: Only where the role's stack has it too, ARN of the bucket that CloudTrail's log files are in
    Default: ""
    AllowedPattern: ^(arn:aws[a-z-]*:s3:::[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])?$
    ConstraintDescription: arn:aws:s3:::<bucket>, or empty

Conditions:
  ReadsArchive: !Not [!Equals [!Ref CloudTrailBucketArn, ""]]

Resources:
  Boundary:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      ManagedPolicyName: !Ref PolicyName
      Description: The most that fleetscan's role can do
      PolicyDocument:
        Version: "{POLICY_VERSION}"
        Statement:
"#
    );
    statement(&mut yaml, allow.sid, allow.effect, allow.actions.iter(), "Resource: \"*\"");
    statement(&mut yaml, deny.sid, deny.effect, deny.actions.iter().filter(|a| !of_buckets(a)), "Resource: \"*\"");
    let buckets: Vec<&String> = deny.actions.iter().filter(of_buckets).collect();
    yaml.push_str("          - !If\n            - ReadsArchive\n");
    for resource in ["NotResource: [!Ref CloudTrailBucketArn, !Sub \"${CloudTrailBucketArn}/*\"]", "Resource: \"*\""] {
        line!(yaml, "            - Sid: NeverBucketsContent");
        line!(yaml, "              Effect: {}", deny.effect);
        line!(yaml, "              {resource}");
        line!(yaml, "              Action:");
        buckets.iter().for_each(|action| line!(yaml, "                - {action}"));
    }
    yaml.push_str(
        r#"          - !If
            - ReadsArchive
            - Sid: ReadArchive
              Effect: Allow
              Action:
                - s3:GetObject
                - s3:ListBucket
              Resource:
                - !Ref CloudTrailBucketArn
                - !Sub ${CloudTrailBucketArn}/*
            - !Ref AWS::NoValue

Outputs:
  BoundaryArn:
    Description: Give it to the role's stack as PermissionsBoundaryArn
    Value: !Ref Boundary
"#,
    );
    yaml
}

fn statement<'a>(
    yaml: &mut String,
    sid: &str,
    effect: &str,
    actions: impl Iterator<Item = &'a String>,
    resource: &str,
) {
    line!(yaml, "          - Sid: {sid}");
    line!(yaml, "            Effect: {effect}");
    line!(yaml, "            {resource}");
    line!(yaml, "            Action:");
    for action in actions {
        line!(yaml, "              - {action}");
    }
}
