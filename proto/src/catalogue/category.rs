use serde::{Deserialize, Serialize};

/// What a service is to the customer who grants its reading: the headings of `docs/permissions.md`, and what a profile
/// can name in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// Which account this is, and which regions it has enabled.
    Account,
    /// Who can do what: IAM.
    Identity,
    /// Agents, their tools and what they know: Bedrock.
    AiAgents,
    /// What acts by itself: functions, tasks, state machines, rules, topics.
    Automation,
    /// Images that containers run: ECR.
    Containers,
    /// Where data lies: buckets and tables, as they are set and never what they hold.
    DataStores,
    /// Names and resource policies, never values.
    SecretsAndParameters,
    /// Who did what: CloudTrail.
    Audit,
    /// Accounts, units and their policies: AWS Organizations.
    Organisation,
    /// People of the organisation: IAM Identity Center.
    Workforce,
    /// Instances, clusters and the network around them.
    Compute,
    /// Keys, findings and recorders: KMS, Access Analyzer, AWS Config.
    Posture,
    /// A service whose file names no category.
    #[default]
    Other,
}

impl Category {
    /// Every category, in the order in which a customer is shown them.
    pub const ALL: [Category; 13] = [
        Category::Account,
        Category::Identity,
        Category::AiAgents,
        Category::Automation,
        Category::Containers,
        Category::DataStores,
        Category::SecretsAndParameters,
        Category::Audit,
        Category::Organisation,
        Category::Workforce,
        Category::Compute,
        Category::Posture,
        Category::Other,
    ];

    /// A heading.
    pub fn title(self) -> &'static str {
        match self {
            Category::Account => "Account and regions",
            Category::Identity => "Identity",
            Category::AiAgents => "AI agents",
            Category::Automation => "Automation",
            Category::Containers => "Containers",
            Category::DataStores => "Data stores",
            Category::SecretsAndParameters => "Secrets and parameters",
            Category::Audit => "Audit",
            Category::Organisation => "Organisation",
            Category::Workforce => "Workforce identity",
            Category::Compute => "Compute and network",
            Category::Posture => "Security posture",
            Category::Other => "Other services",
        }
    }
}
