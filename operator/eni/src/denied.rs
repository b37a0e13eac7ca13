//! Which permission is missing.

use crate::failure::{Failure, Reason};
use std::fmt;

/// A permission that is missing, as IAM names it, else as follows from the call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    /// Who asked; empty where IAM does not say.
    pub who: String,
    /// `ec2:CreateTags`
    pub action: String,
    /// The resource: an ARN, or the end of one.
    pub resource: String,
    /// What IAM says of the policy: none allows it, or one denies it.
    pub why: String,
}

impl Denied {
    /// What a failure says of permissions; `None` where it failed for another reason. `call` and
    /// `about` are what was asked for: a call may need more permissions than the one of its name, and
    /// IAM says which is missing where it was told to
    /// (IAM User Guide, "Troubleshoot access denied error messages").
    pub fn of(failure: &Failure, call: &str, about: &str) -> Option<Self> {
        if failure.reason != Reason::Unauthorized {
            return None;
        }
        let text = failure.message.as_str();
        // What follows is for aws sts decode-authorization-message.
        let text = text.split(" Encoded authorization failure").next().unwrap_or(text);
        let word_after = |words: &str| {
            let rest = text.split(words).nth(1)?;
            rest.split_whitespace().next().map(|word| word.trim_end_matches('.'))
        };
        let action = word_after("not authorized to perform: ");
        let resource = word_after(" on resource: ");
        let why = resource.and_then(|resource| text.split(resource).nth(1)).unwrap_or_default();
        let about = if about.is_empty() { "*" } else { about };
        Some(Self {
            who: word_after("User: ").unwrap_or_default().to_owned(),
            action: action.map_or_else(|| format!("ec2:{call}"), str::to_owned),
            resource: resource.unwrap_or(about).to_owned(),
            why: why.trim().trim_end_matches('.').to_owned(),
        })
    }

    /// Whether a policy forbids it: then allowing it in another does not help
    /// (IAM User Guide, "Policy evaluation logic").
    pub fn is_explicit(&self) -> bool {
        self.why.contains("explicit deny")
    }
}

impl Failure {
    /// Cause and remedy for people. `about`: what the call was about, as IAM names resources; it counts
    /// where IAM does not say which permission is missing.
    pub fn told(&self, call: &str, about: &str) -> String {
        let Self { reason, message } = self;
        match Denied::of(self, call, about) {
            Some(denied) => format!("{call} failed: {reason}: {denied}: {}", reason.remedy()),
            None => format!("{call} failed: {reason}: {message}: {}", reason.remedy()),
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, action, resource, why } = self;
        let who = if who.is_empty() { "the operator's IAM role" } else { who };
        write!(f, "{who} may not {action} on {resource}")?;
        if why.is_empty() { Ok(()) } else { write!(f, " ({why})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = "arn:aws:sts::111122223333:assumed-role/penstock/pod";
    const RESOURCE: &str = "arn:aws:ec2:eu-central-1:111122223333:network-interface/*";

    fn of(message: &str) -> Denied {
        let failure = Failure::of_ec2("UnauthorizedOperation", message);
        Denied::of(&failure, "CreateNetworkInterface", "subnet/subnet-1").expect("a permission")
    }

    #[test]
    fn what_iam_says_counts() {
        let denied = of(&format!(
            "You are not authorized to perform this operation. User: {ROLE} is not authorized to \
             perform: ec2:CreateTags on resource: {RESOURCE} because no identity-based policy allows \
             the ec2:CreateTags action. Encoded authorization failure message: r3Q-8_x"
        ));
        assert_eq!(
            (denied.action.as_str(), denied.resource.as_str()),
            ("ec2:CreateTags", RESOURCE)
        );
        assert_eq!(denied.who, ROLE);
        assert!(!denied.is_explicit());
        assert_eq!(
            denied.to_string(),
            format!(
                "{ROLE} may not ec2:CreateTags on {RESOURCE} (because no identity-based policy allows \
                 the ec2:CreateTags action)"
            )
        );
        let denied = of(&format!(
            "User: {ROLE} is not authorized to perform: ec2:CreateTags on resource: {RESOURCE} with an \
             explicit deny in a service control policy"
        ));
        assert!(denied.is_explicit());
    }

    #[test]
    fn where_it_says_nothing_call_and_resource_are_those_that_were_asked_for() {
        let denied = of(
            "You are not authorized to perform this operation. Encoded authorization failure message: \
             r3Q-8_x",
        );
        assert_eq!(
            denied.to_string(),
            "the operator's IAM role may not ec2:CreateNetworkInterface on subnet/subnet-1"
        );
        let failure = Failure::of_ec2("UnauthorizedOperation", "You are not authorized.");
        let denied = Denied::of(&failure, "DescribeSubnets", "").expect("a permission");
        assert_eq!(denied.resource, "*");
        assert_eq!(Denied::of(&Failure::no_answer(), "DescribeSubnets", ""), None);
    }

    #[test]
    fn a_failure_names_the_permission_and_where_it_is_written() {
        let failure = Failure::of_ec2("UnauthorizedOperation", "You are not authorized.");
        let told = failure.told("AttachNetworkInterface", "network-interface/eni-1");
        assert_eq!(
            told,
            "AttachNetworkInterface failed: Unauthorized: the operator's IAM role may not \
             ec2:AttachNetworkInterface on network-interface/eni-1: attach the chart's IAM policy \
             (charts/penstock/iam-policy.json), which has it, to the operator's role"
        );
        let other = Failure::of_ec2("NetworkInterfaceLimitExceeded", "no more");
        assert!(other.told("CreateNetworkInterface", "").contains("LimitExceeded: no more: raise"));
        assert_eq!(other.code(), "NetworkInterfaceLimitExceeded");
    }
}
