//! Why a call failed.

use std::{fmt, time::Duration};

/// Who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Who runs the cluster: permissions, subnets, quotas.
    Platform,
    /// EC2, and it passes.
    Ec2,
    /// Nobody: what was known was out of date.
    Nobody,
}

/// Why a call failed: a bounded set, label of metrics and reason of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The subnet has not as many free addresses.
    SubnetFull,
    /// The subnet has addresses, but no free prefix of sixteen.
    NoPrefixes,
    /// The interface has as many addresses as the instance type allows.
    AddressLimit,
    /// The instance has as many interfaces as its type allows, or the device index is taken.
    AttachmentLimit,
    /// The account has as many interfaces as its quota allows.
    InterfaceQuota,
    /// The instance is not running.
    NotRunning,
    /// The interface is attached.
    InUse,
    /// There is no such interface, subnet, group or instance, or not yet.
    NotFound,
    /// A permission is missing.
    Unauthorized,
    /// There are no credentials, or EC2 does not take them.
    NoCredentials,
    /// It is not known which region's EC2 to ask.
    NoRegion,
    /// Too many calls.
    Throttled,
    /// No answer came: it may have been done or not.
    NoAnswer,
    /// EC2 has a fault.
    Internal,
    /// EC2 refuses what was asked for.
    Invalid,
}

impl Reason {
    /// As a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SubnetFull => "SubnetFull",
            Self::NoPrefixes => "NoPrefixes",
            Self::AddressLimit => "AddressLimit",
            Self::AttachmentLimit => "AttachmentLimit",
            Self::InterfaceQuota => "InterfaceQuota",
            Self::NotRunning => "NotRunning",
            Self::InUse => "InUse",
            Self::NotFound => "NotFound",
            Self::Unauthorized => "Unauthorized",
            Self::NoCredentials => "NoCredentials",
            Self::NoRegion => "NoRegion",
            Self::Throttled => "Throttled",
            Self::NoAnswer => "NoAnswer",
            Self::Internal => "Internal",
            Self::Invalid => "Invalid",
        }
    }

    /// Who can do something about it.
    pub fn fault(self) -> Fault {
        match self {
            Self::SubnetFull
            | Self::NoPrefixes
            | Self::InterfaceQuota
            | Self::Unauthorized
            | Self::NoCredentials
            | Self::NoRegion
            | Self::Invalid => Fault::Platform,
            Self::Throttled | Self::NoAnswer | Self::Internal => Fault::Ec2,
            Self::AddressLimit
            | Self::AttachmentLimit
            | Self::NotRunning
            | Self::InUse
            | Self::NotFound => Fault::Nobody,
        }
    }

    /// How long the node does without the same call. What somebody has to mend is tried each minute;
    /// what was out of date, after the node was looked at anew.
    pub fn pause(self) -> Duration {
        match self {
            Self::Throttled | Self::Internal => Duration::from_secs(2),
            Self::AddressLimit | Self::AttachmentLimit | Self::InUse | Self::NotFound => {
                Duration::from_secs(5)
            }
            Self::NoAnswer => Duration::from_secs(10),
            Self::SubnetFull | Self::NoPrefixes => Duration::ZERO,
            Self::NotRunning
            | Self::InterfaceQuota
            | Self::Unauthorized
            | Self::NoCredentials
            | Self::NoRegion
            | Self::Invalid => Duration::from_secs(60),
        }
    }

    /// What to do about it, for who runs the cluster.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::SubnetFull => {
                "add a subnet of the node's zone to eni.nodeSpec.subnetTags or subnetIDs, or free addresses in this one"
            }
            Self::NoPrefixes => {
                "reserve a block of the subnet for prefixes (aws ec2 create-subnet-cidr-reservation --reservation-type prefix), or add a subnet; single addresses are used meanwhile"
            }
            Self::InterfaceQuota => {
                "raise the quota \"Network interfaces per Region\" (L-DF5E4CA3)"
            }
            Self::Unauthorized => {
                "attach the chart's IAM policy (charts/penstock/iam-policy.json), which has it, to the operator's role"
            }
            Self::NoCredentials => {
                "give the operator's ServiceAccount a role (EKS Pod Identity; or IRSA by operator.serviceAccountAnnotations), or its instances an instance profile"
            }
            Self::NoRegion => "set eni.region of the values",
            Self::Invalid => "see the message: EC2 refuses a setting of eni.nodeSpec",
            Self::NotRunning => "none where the instance starts or ends; it is tried again",
            Self::AddressLimit | Self::AttachmentLimit | Self::InUse | Self::NotFound => {
                "none: the node is looked at anew"
            }
            Self::Throttled | Self::NoAnswer | Self::Internal => "none: it is tried again",
        }
    }
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// EC2's words: code and message.
    pub message: String,
}

impl Failure {
    /// From EC2's words: its code, and its message where one code has several meanings
    /// (Amazon EC2 API Reference, "Error codes").
    pub fn of_ec2(code: &str, message: &str) -> Self {
        let says = |part: &str| message.contains(part);
        let reason = match code {
            "InsufficientFreeAddressesInSubnet" => Reason::SubnetFull,
            "InsufficientCidrBlocks" => Reason::NoPrefixes,
            "InvalidParameterValue" if says("sufficient free Ipv4 addresses or prefixes") => {
                Reason::NoPrefixes
            }
            "InvalidParameterValue" if says("attached at device index") => Reason::AttachmentLimit,
            "InvalidParameterValue" if says("currently in use") => Reason::InUse,
            "InvalidParameterValue" if says("are not assigned to interface") => Reason::NotFound,
            "PrivateIpAddressLimitExceeded" => Reason::AddressLimit,
            "AttachmentLimitExceeded" => Reason::AttachmentLimit,
            "NetworkInterfaceLimitExceeded" => Reason::InterfaceQuota,
            "IncorrectState" | "IncorrectInstanceState" if says("is not 'running'") => {
                Reason::NotRunning
            }
            "InvalidNetworkInterface.InUse" | "InvalidNetworkInterfaceInUse" => Reason::InUse,
            "UnauthorizedOperation" | "AccessDenied" => Reason::Unauthorized,
            "AuthFailure"
            | "ExpiredToken"
            | "IncompleteSignature"
            | "InvalidClientTokenId"
            | "MissingAuthenticationToken"
            | "RequestExpired"
            | "SignatureDoesNotMatch"
            | "UnrecognizedClientException" => Reason::NoCredentials,
            "RequestLimitExceeded" | "Throttling" | "ThrottlingException" => Reason::Throttled,
            "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable" => {
                Reason::Internal
            }
            _ if code.ends_with(".NotFound") => Reason::NotFound,
            _ => Reason::Invalid,
        };
        Self { reason, message: format!("{code}: {message}") }
    }

    /// EC2's code; what stands before the first colon where it did not answer.
    pub fn code(&self) -> &str {
        self.message.split(':').next().unwrap_or_default()
    }

    /// No answer came in time.
    pub fn no_answer() -> Self {
        Self { reason: Reason::NoAnswer, message: "no answer came in time".into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
