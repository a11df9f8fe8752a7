//! What to do about cells that were not read.

use fleetscan_proto::Outcome;

/// One or two sentences for people; `None` where there is nothing to do.
pub fn about(outcome: Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::Complete => return None,
        Outcome::Partial => {
            "Some calls were refused or failed; what the others answered is kept. Let the role allow the actions \
             below, then scan again."
        }
        Outcome::Denied => {
            "The role may not read these at all. Attach the policy again, or let it allow the actions below, then \
             scan again."
        }
        Outcome::DeniedByScp => {
            "The organisation forbids it by a service control policy. Nothing the account can mend."
        }
        Outcome::RegionDisabled => "The region is not enabled in the account. Nothing is hidden there.",
        Outcome::ThrottledOut => {
            "Time or budget ran out while AWS was throttling. Scan again at a quieter hour, or with a longer \
             --deadline-minutes."
        }
        Outcome::Failed => "These did not answer as they should. Scan again; the reasons below say what they met.",
        Outcome::Unconfirmed => {
            "AssumeRole was denied, and it is not known why. Check that the role exists, that it trusts fleetscan's \
             own identity, and that its ExternalId is the one in the accounts file."
        }
        Outcome::Revoked => {
            "The customer took the role away. Nothing else was called there; the next scan asks once whether it is \
             back."
        }
        Outcome::Cancelled => "The scan was cancelled before these were read. Scan again.",
    })
}
