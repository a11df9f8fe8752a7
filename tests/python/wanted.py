"""What an inventory wants of each service; what of it is not called, and why."""

WANTED = {
    "accessanalyzer": [
        "ListAnalyzers", "GetAnalyzer", "ListFindings", "ListFindingsV2", "GetFinding", "GetFindingV2",
        "ListArchiveRules", "ListAnalyzedResources", "GetFindingsStatistics",
    ],
    "account": [
        "ListRegions", "GetRegionOptStatus",
    ],
    "bedrock": [
        "ListGuardrails", "GetGuardrail", "ListEnforcedGuardrailsConfiguration",
        "GetModelInvocationLoggingConfiguration", "ListCustomModels", "GetCustomModel", "ListImportedModels",
        "ListProvisionedModelThroughputs", "ListInferenceProfiles", "ListFoundationModels", "ListTagsForResource",
    ],
    "bedrock-agent": [
        "ListAgents", "GetAgent", "ListAgentVersions", "GetAgentVersion", "ListAgentActionGroups",
        "GetAgentActionGroup", "ListAgentAliases", "GetAgentAlias", "ListAgentKnowledgeBases", "GetAgentKnowledgeBase",
        "ListAgentCollaborators", "ListKnowledgeBases", "GetKnowledgeBase", "ListDataSources", "GetDataSource",
        "ListFlows", "GetFlow", "ListFlowVersions", "GetFlowVersion", "ListFlowAliases", "GetFlowAlias", "ListPrompts",
        "GetPrompt", "ListTagsForResource",
    ],
    "cloudtrail": [
        "DescribeTrails", "ListTrails", "GetTrail", "GetTrailStatus", "GetEventSelectors", "GetInsightSelectors",
        "ListTags", "LookupEvents", "ListEventDataStores", "GetEventDataStore",
    ],
    "config": [
        "DescribeConfigRules", "DescribeConfigurationRecorders", "DescribeConfigurationRecorderStatus",
        "DescribeDeliveryChannels", "DescribeComplianceByConfigRule", "GetComplianceDetailsByConfigRule",
        "DescribeConfigurationAggregators", "DescribeConformancePacks", "SelectResourceConfig",
        "SelectAggregateResourceConfig", "ListTagsForResource",
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
    "ecr": [
        "DescribeRepositories", "GetRepositoryPolicy", "GetLifecyclePolicy", "DescribeImages", "ListImages",
        "ListTagsForResource", "GetRegistryPolicy", "DescribeRegistry", "GetRegistryScanningConfiguration",
        "DescribePullThroughCacheRules", "DescribeImageScanFindings",
    ],
    "ecs": [
        "ListClusters", "DescribeClusters", "ListServices", "DescribeServices", "ListTaskDefinitions",
        "ListTaskDefinitionFamilies", "DescribeTaskDefinition", "ListTasks", "DescribeTasks", "ListContainerInstances",
        "DescribeContainerInstances", "DescribeCapacityProviders", "ListAccountSettings", "ListTagsForResource",
    ],
    "eks": [
        "ListClusters", "DescribeCluster", "ListPodIdentityAssociations", "DescribePodIdentityAssociation",
        "ListAccessEntries", "DescribeAccessEntry", "ListAssociatedAccessPolicies", "ListNodegroups",
        "DescribeNodegroup", "ListFargateProfiles", "DescribeFargateProfile", "ListIdentityProviderConfigs",
        "DescribeIdentityProviderConfig", "ListAddons", "DescribeAddon",
    ],
    "events": [
        "ListEventBuses", "DescribeEventBus", "ListRules", "DescribeRule", "ListTargetsByRule", "ListConnections",
        "DescribeConnection", "ListApiDestinations", "DescribeApiDestination", "ListArchives", "ListEndpoints",
        "ListTagsForResource",
    ],
    "iam": [
        "GetAccountAuthorizationDetails", "GetAccountSummary", "GetAccountPasswordPolicy", "ListAccountAliases",
        "ListUsers", "ListRoles", "ListGroups", "ListPolicies", "GetUser", "GetRole", "GetGroup", "ListUserPolicies",
        "GetUserPolicy", "ListRolePolicies", "GetRolePolicy", "ListGroupPolicies", "GetGroupPolicy",
        "ListAttachedUserPolicies", "ListAttachedRolePolicies", "ListAttachedGroupPolicies", "ListGroupsForUser",
        "GetPolicy", "ListPolicyVersions", "GetPolicyVersion", "ListEntitiesForPolicy", "ListAccessKeys",
        "GetAccessKeyLastUsed", "ListMFADevices", "ListVirtualMFADevices", "GetLoginProfile", "ListSigningCertificates",
        "ListSSHPublicKeys", "ListServiceSpecificCredentials", "ListInstanceProfiles", "GetInstanceProfile",
        "ListInstanceProfilesForRole", "ListOpenIDConnectProviders", "GetOpenIDConnectProvider", "ListSAMLProviders",
        "GetSAMLProvider", "ListServerCertificates", "ListUserTags", "ListRoleTags", "ListPolicyTags",
        "GenerateCredentialReport", "GetCredentialReport", "GenerateServiceLastAccessedDetails",
        "GetServiceLastAccessedDetails", "GetServiceLastAccessedDetailsWithEntities",
        "GetOutboundWebIdentityFederationInfo", "ListOrganizationsFeatures",
    ],
    "identitystore": [
        "ListUsers", "ListGroups", "ListGroupMemberships", "ListGroupMembershipsForMember", "DescribeUser",
        "DescribeGroup",
    ],
    "kms": [
        "ListKeys", "DescribeKey", "GetKeyPolicy", "GetKeyRotationStatus", "ListAliases", "ListGrants",
        "ListResourceTags",
    ],
    "lambda": [
        "ListFunctions", "GetFunctionConfiguration", "GetFunction", "GetPolicy", "ListAliases",
        "ListVersionsByFunction", "ListEventSourceMappings", "ListLayers", "ListLayerVersions", "GetLayerVersionPolicy",
        "ListFunctionUrlConfigs", "ListFunctionEventInvokeConfigs", "ListTags", "GetFunctionConcurrency",
        "GetFunctionCodeSigningConfig", "ListCodeSigningConfigs", "GetAccountSettings",
    ],
    "organizations": [
        "DescribeOrganization", "ListRoots", "ListAccounts", "ListOrganizationalUnitsForParent",
        "ListAccountsForParent", "ListParents", "ListChildren", "DescribeOrganizationalUnit", "DescribeAccount",
        "ListPolicies", "DescribePolicy", "ListTargetsForPolicy", "ListPoliciesForTarget", "DescribeEffectivePolicy",
        "ListDelegatedAdministrators", "ListDelegatedServicesForAccount", "ListAWSServiceAccessForOrganization",
        "ListTagsForResource", "DescribeResourcePolicy",
    ],
    "pipes": [
        "ListPipes", "DescribePipe",
    ],
    "s3": [
        "ListBuckets", "GetBucketLocation", "GetBucketPolicy", "GetBucketPolicyStatus", "GetBucketAcl",
        "GetBucketEncryption", "GetPublicAccessBlock", "GetBucketOwnershipControls", "GetBucketLogging",
        "GetBucketVersioning", "GetBucketTagging", "GetBucketNotificationConfiguration",
        "GetBucketLifecycleConfiguration", "GetBucketReplication", "GetBucketCors", "GetBucketWebsite",
        "GetObjectLockConfiguration",
    ],
    "s3control": [
        "GetPublicAccessBlock", "ListAccessPoints", "GetAccessPointPolicy",
    ],
    "scheduler": [
        "ListScheduleGroups", "ListSchedules", "GetSchedule",
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
    "sso-admin": [
        "ListInstances", "DescribeInstance", "ListPermissionSets", "DescribePermissionSet",
        "ListManagedPoliciesInPermissionSet", "ListCustomerManagedPolicyReferencesInPermissionSet",
        "GetInlinePolicyForPermissionSet", "GetPermissionsBoundaryForPermissionSet",
        "ListAccountsForProvisionedPermissionSet", "ListPermissionSetsProvisionedToAccount", "ListAccountAssignments",
        "ListAccountAssignmentsForPrincipal", "ListApplications", "ListApplicationAssignments",
        "ListTrustedTokenIssuers", "ListTagsForResource",
    ],
    "stepfunctions": [
        "ListStateMachines", "DescribeStateMachine", "ListTagsForResource", "ListStateMachineAliases",
        "ListStateMachineVersions", "DescribeStateMachineAlias", "ListActivities",
    ],
    "sts": [
        "AssumeRole", "GetCallerIdentity", "GetAccessKeyInfo",
    ],
}

# Nothing: what is not read by default is marked in the files with `opt_in`, and the reason.
LEFT_OUT = {}

# Never called: the right to it, s3:ListBucket, is also the right to read the names of objects.
WITHHELD = {"s3": ["HeadBucket"]}
