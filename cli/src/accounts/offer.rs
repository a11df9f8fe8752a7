//! What an operator sends to a customer who is to connect an account: an ExternalId, and the role's template with its
//! parameters filled in.

use crate::{deploy, display, failure::Failure, summary::shell_word};
use fleetscan_proto::Profile;
use fleetscan_worker::policy::ROLE_NAME;
use serde_json::{Value, json};
use std::io::Write as _;

const STACK: &str = "fleetscan-role";
const CHARACTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// An ExternalId with what belongs to it.
pub struct Offer {
    external_id: String,
    profile: Profile,
    hub_principal: Option<String>,
    template_url: Option<String>,
    region: String,
}

impl Offer {
    /// A new ExternalId, of 40 characters of 64: some 240 bits.
    pub fn new(profile: Profile, hub_principal: Option<String>, template_url: Option<String>, region: String) -> Self {
        let bytes: [u8; 40] = rand::random();
        // Not first: a value that begins with a hyphen looks like a flag.
        let character =
            |(n, byte): (usize, &u8)| char::from(CHARACTERS[usize::from(byte & 63) % (if n == 0 { 52 } else { 64 })]);
        let external_id = bytes.iter().enumerate().map(character).collect();
        Self { external_id, profile, hub_principal, template_url, region }
    }

    /// The ExternalId on stdout, and how to go on on stderr; or all of it as one object.
    pub fn tell(&self, json: bool) -> Result<(), Failure> {
        let mut stdout = std::io::stdout().lock();
        if json {
            writeln!(stdout, "{}", self.json())?;
            return Ok(());
        }
        writeln!(stdout, "{}", self.external_id)?;
        display::note(&self.advice());
        Ok(())
    }

    /// CloudFormation's parameters, as its API takes them.
    fn parameters(&self) -> Vec<Value> {
        let mut parameters = vec![("ExternalId", self.external_id.as_str()), ("RoleName", ROLE_NAME)];
        parameters.extend(self.hub_principal.as_deref().map(|arn| ("HubPrincipal", arn)));
        parameters.iter().map(|(key, value)| json!({ "ParameterKey": key, "ParameterValue": value })).collect()
    }

    /// A link into the customer's console. The ExternalId is not in it: CloudFormation ignores NoEcho parameters of such
    /// links (CloudFormation User Guide, "Create quick-create links for stacks"), and links are kept in histories.
    fn quick_create(&self) -> Option<String> {
        let template = self.template_url.as_ref()?;
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("templateURL", template).append_pair("stackName", STACK);
        query.append_pair("param_RoleName", ROLE_NAME);
        if let Some(arn) = &self.hub_principal {
            query.append_pair("param_HubPrincipal", arn);
        }
        let (region, query) = (&self.region, query.finish());
        Some(format!(
            "https://{region}.console.aws.amazon.com/cloudformation/home?region={region}#/stacks/quickcreate?{query}"
        ))
    }

    fn file(&self) -> String {
        format!("role-{}.yaml", self.profile.name())
    }

    fn command(&self) -> String {
        let hub = self.hub_principal.as_deref().unwrap_or("arn:aws:iam::<hub account>:role/<hub role>");
        format!(
            "aws cloudformation deploy --region {} --stack-name {STACK} --template-file {} \
             --capabilities CAPABILITY_NAMED_IAM --parameter-overrides {} {}",
            self.region,
            self.file(),
            shell_word(&format!("HubPrincipal={hub}")),
            shell_word(&format!("ExternalId={}", self.external_id)),
        )
    }

    fn advice(&self) -> String {
        let mut text = format!(
            "Profile {}. Send the customer the ExternalId above, by a way that you would send a password, with\n\
             the template (`fleetscan catalogue template --profile {}` prints it) and one of these:\n",
            self.profile,
            self.profile.name(),
        );
        match self.quick_create() {
            Some(link) => text.push_str(&format!("  in the console, where the ExternalId is pasted:\n    {link}\n")),
            None => text
                .push_str("  (publish the template in S3 and say --template-url: then a console link stands here)\n"),
        }
        text.push_str(&format!("  on the command line:\n    {}\n", self.command()));
        text.push_str("Then connect the account with the stack's output RoleArn:\n");
        text.push_str("  fleetscan accounts add <account> --role-arn <RoleArn>");
        text
    }

    fn json(&self) -> Value {
        json!({
            "external_id": self.external_id, "profile": self.profile.name(), "profile_version": self.profile.version(),
            "template": format!("{}/{}", deploy::FOLDER, self.file()), "parameters": self.parameters(),
            "quick_create_url": self.quick_create(), "command": self.command(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(hub: Option<&str>, url: Option<&str>) -> Offer {
        let profile = Profile::built_in("securityv0").expect("there").clone();
        Offer::new(profile, hub.map(str::to_owned), url.map(str::to_owned), "eu-west-1".into())
    }

    #[test]
    fn the_link_has_every_parameter_but_the_secret() {
        let url = "https://templates.s3.eu-west-1.amazonaws.com/role-securityv0.yaml";
        let offer = offer(Some("arn:aws:iam::111122223333:role/hub"), Some(url));
        let link = offer.quick_create().expect("a link");
        assert!(
            link.starts_with("https://eu-west-1.console.aws.amazon.com/cloudformation/home?region=eu-west-1#/stacks/")
        );
        assert!(link.contains("param_HubPrincipal=arn%3Aaws%3Aiam%3A%3A111122223333%3Arole%2Fhub"), "{link}");
        assert!(link.contains("param_RoleName=SecurityV0ReadOnly") && !link.contains(&offer.external_id));
        assert!(offer.command().contains(&offer.external_id) && offer.command().contains("role-securityv0.yaml"));
        assert_eq!(offer.parameters().len(), 3);
    }

    #[test]
    fn what_is_not_known_is_left_for_the_operator_to_fill_in() {
        let offer = offer(None, None);
        assert_eq!(offer.quick_create(), None);
        assert!(offer.command().contains("<hub account>") && offer.json()["quick_create_url"].is_null());
    }

    #[test]
    fn external_ids_fit_and_never_look_like_flags() {
        for _ in 0..200 {
            let id = offer(None, None).external_id;
            assert_eq!(id.len(), 40);
            assert!(
                fleetscan_proto::check_external_id(&id).is_ok() && id.starts_with(|c: char| c.is_ascii_alphabetic())
            );
        }
    }
}
