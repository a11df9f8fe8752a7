"""What an inventory wants of each service; what of it is not called, and why."""

WANTED = {
    "account": [
        "ListRegions", "GetRegionOptStatus",
    ],
    "dynamodb": [
        "ListTables", "DescribeTable", "ListTagsOfResource", "GetResourcePolicy", "DescribeContinuousBackups",
        "DescribeTimeToLive", "DescribeKinesisStreamingDestination", "ListBackups", "DescribeLimits",
    ],
    "ec2": [
        "DescribeRegions", "DescribeInstances", "DescribeVpcs", "DescribeSubnets", "DescribeSecurityGroups",
        "DescribeSecurityGroupRules", "DescribeNetworkAcls", "DescribeRouteTables", "DescribeInternetGateways",
        "DescribeNatGateways", "DescribeVpcEndpoints", "DescribeVpcPeeringConnections", "DescribeTransitGateways",
        "DescribeTransitGatewayAttachments", "DescribeVolumes", "DescribeSnapshots", "DescribeSnapshotAttribute",
        "DescribeImages", "DescribeImageAttribute", "DescribeNetworkInterfaces", "DescribeAddresses",
        "DescribeFlowLogs", "DescribeKeyPairs", "DescribeIamInstanceProfileAssociations", "DescribeInstanceAttribute",
        "DescribeLaunchTemplates", "DescribeLaunchTemplateVersions", "DescribeManagedPrefixLists", "DescribeTags",
        "DescribeVpcAttribute", "DescribeAccountAttributes", "GetEbsEncryptionByDefault",
        "GetSnapshotBlockPublicAccessState", "GetImageBlockPublicAccessState", "GetInstanceMetadataDefaults",
    ],
    "ecs": [
        "ListClusters", "DescribeClusters", "ListServices", "DescribeServices", "ListTaskDefinitions",
        "ListTaskDefinitionFamilies", "DescribeTaskDefinition", "ListTasks", "DescribeTasks",
        "ListContainerInstances", "DescribeContainerInstances", "DescribeCapacityProviders", "ListAccountSettings",
        "ListTagsForResource",
    ],
    "iam": [
        "GetAccountAuthorizationDetails", "GetAccountSummary", "GetAccountPasswordPolicy", "ListAccountAliases",
        "ListUsers", "ListRoles", "ListGroups", "ListPolicies", "GetUser", "GetRole", "GetGroup", "ListUserPolicies",
        "GetUserPolicy", "ListRolePolicies", "GetRolePolicy", "ListGroupPolicies", "GetGroupPolicy",
        "ListAttachedUserPolicies", "ListAttachedRolePolicies", "ListAttachedGroupPolicies", "ListGroupsForUser",
        "GetPolicy", "ListPolicyVersions", "GetPolicyVersion", "ListEntitiesForPolicy", "ListAccessKeys",
        "GetAccessKeyLastUsed", "ListMFADevices", "ListVirtualMFADevices", "GetLoginProfile",
        "ListSigningCertificates", "ListSSHPublicKeys", "ListServiceSpecificCredentials", "ListInstanceProfiles",
        "GetInstanceProfile", "ListInstanceProfilesForRole", "ListOpenIDConnectProviders", "GetOpenIDConnectProvider",
        "ListSAMLProviders", "GetSAMLProvider", "ListServerCertificates", "ListUserTags", "ListRoleTags",
        "ListPolicyTags", "GenerateCredentialReport", "GetCredentialReport", "GenerateServiceLastAccessedDetails",
        "GetServiceLastAccessedDetails", "GetServiceLastAccessedDetailsWithEntities",
        "GetOutboundWebIdentityFederationInfo", "ListOrganizationsFeatures",
    ],
    "lambda": [
        "ListFunctions", "GetFunctionConfiguration", "GetFunction", "GetPolicy", "ListAliases",
        "ListVersionsByFunction", "ListEventSourceMappings", "ListLayers", "ListLayerVersions",
        "GetLayerVersionPolicy", "ListFunctionUrlConfigs", "ListFunctionEventInvokeConfigs", "ListTags",
        "GetFunctionConcurrency", "GetFunctionCodeSigningConfig", "ListCodeSigningConfigs", "GetAccountSettings",
    ],
    "s3": [
        "ListBuckets", "HeadBucket", "GetBucketLocation", "GetBucketPolicy", "GetBucketPolicyStatus", "GetBucketAcl",
        "GetBucketEncryption", "GetPublicAccessBlock", "GetBucketOwnershipControls", "GetBucketLogging",
        "GetBucketVersioning", "GetBucketTagging", "GetBucketNotificationConfiguration",
        "GetBucketLifecycleConfiguration", "GetBucketReplication", "GetBucketCors", "GetBucketWebsite",
        "GetObjectLockConfiguration",
    ],
    "s3control": [
        "GetPublicAccessBlock", "ListAccessPoints", "GetAccessPointPolicy",
    ],
    "secretsmanager": [
        "ListSecrets", "DescribeSecret", "GetResourcePolicy", "ListSecretVersionIds",
    ],
    "sns": [
        "ListTopics", "GetTopicAttributes", "ListTagsForResource", "ListSubscriptions", "ListSubscriptionsByTopic",
        "GetSubscriptionAttributes", "GetDataProtectionPolicy",
    ],
    "ssm": [
        "DescribeParameters", "ListTagsForResource", "GetResourcePolicies", "DescribeInstanceInformation",
        "ListDocuments", "DescribeDocumentPermission",
    ],
    "sts": [
        "AssumeRole", "GetCallerIdentity", "GetAccessKeyInfo",
    ],
}

LEFT_OUT = {
    "account": {"GetRegionOptStatus": "ListRegions tells it of all regions at once"},
    "ec2": {
        "DescribeIamInstanceProfileAssociations": "instances name their profile",
        "DescribeInstanceAttribute": "the right to it is the right to read user data",
        "DescribeTags": "everything is answered with its tags",
    },
    "ecs": {"ListTagsForResource": "the describing operations answer tags"},
    "iam": {
        "GetGroup": "users name their groups",
        "ListPolicyVersions": "GetAccountAuthorizationDetails has them",
        "ListEntitiesForPolicy": "users, groups and roles name their policies",
        "ListInstanceProfilesForRole": "instance profiles name their role",
        "GenerateCredentialReport": "a report of its own making, not an inventory",
        "GetCredentialReport": "a report of its own making, not an inventory",
        "GenerateServiceLastAccessedDetails": "a job for each entity, not an inventory",
        "GetServiceLastAccessedDetails": "a job for each entity, not an inventory",
        "GetServiceLastAccessedDetailsWithEntities": "a job for each entity, not an inventory",
    },
    "s3": {"HeadBucket": "the right to it is the right to list keys"},
    "sts": {"GetAccessKeyInfo": "whose an access key is, keys of strangers included"},
}
