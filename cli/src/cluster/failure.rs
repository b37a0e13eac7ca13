//! Why a cluster cannot be read, in words: cause and remedy.

use kube::config::KubeconfigError;
use penstock_telemetry::causes;
use std::path::Path;

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Cause and remedy.
    pub(crate) text: String,
    /// Whether it may go by itself: an API server that is away may come back.
    pub(crate) retry: bool,
}

impl Failure {
    fn lasting(text: impl Into<String>) -> Self {
        Self { text: text.into(), retry: false }
    }

    /// The kubeconfig cannot be used.
    pub(crate) fn of_kubeconfig(error: &KubeconfigError, file: Option<&Path>) -> Self {
        use KubeconfigError as E;
        let from = file.map_or(String::new(), |file| format!(" {}", file.display()));
        Self::lasting(match error {
            E::FindPath => {
                "there is no kubeconfig; name one with --kubeconfig or in the environment \
                            variable KUBECONFIG (on EKS: aws eks update-kubeconfig --name CLUSTER)"
                    .to_owned()
            }
            E::ReadConfig(why, path) => format!(
                "cannot read the kubeconfig {}: {why}; name another with --kubeconfig or in the \
                 environment variable KUBECONFIG (on EKS: aws eks update-kubeconfig --name CLUSTER)",
                path.display()
            ),
            E::CurrentContextNotSet => format!(
                "the kubeconfig{from} has no current context; choose one with --context or with \
                 kubectl config use-context NAME"
            ),
            E::LoadContext(name) => format!(
                "the kubeconfig{from} has no context `{name}`; kubectl config get-contexts lists \
                 those that there are"
            ),
            E::LoadClusterOfContext(name) => format!(
                "the kubeconfig{from} has no cluster `{name}`, which the context asks for; choose \
                 another context with --context or add the cluster"
            ),
            other => format!("the kubeconfig{from} cannot be used: {}; correct it", chain(other)),
        })
    }

    /// A request to the API server failed for another reason than a missing right.
    pub(crate) fn of_request(server: &str, what: &str, error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == 401 => Self::lasting(format!(
                "the API server {server} does not know who asks ({}); renew the credentials of the \
                 kubeconfig's context, or choose another with --context",
                one_line(&status.message)
            )),
            kube::Error::Api(status) => Self {
                text: format!(
                    "the API server {server} does not {what}: {} (HTTP {}); try again, and look at \
                     its log when it stays",
                    one_line(&status.message),
                    status.code
                ),
                retry: status.code == 429 || status.code >= 500,
            },
            kube::Error::Auth(why) => Self::lasting(format!(
                "no credentials for the API server {server}: {}; run the command that the \
                 kubeconfig's context names by hand to see why, or choose another with --context",
                chain(why)
            )),
            kube::Error::SerdeError(why) => Self::lasting(format!(
                "the API server {server} was asked to {what}, and what it answered is of another \
                 form: {why}; install the definitions of a version that this command knows"
            )),
            other => {
                let why = chain(other);
                let certificate = ["certificate", "UnknownIssuer", "NotValidForName"];
                if certificate.iter().any(|word| why.contains(word)) {
                    return Self::lasting(format!(
                        "the certificate of the API server {server} is not trusted: {why}; correct \
                         certificate-authority-data of the kubeconfig's cluster"
                    ));
                }
                Self {
                    text: format!(
                        "the API server {server} cannot be reached: {why}; look at the network (VPN, \
                         proxy, private endpoint) and at the address in the kubeconfig, or choose \
                         another context with --context"
                    ),
                    retry: true,
                }
            }
        }
    }
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let text = causes(error);
    // The library's own name for the layer says nothing to a person.
    one_line(text.trim_start_matches("ServiceError: ").trim_start_matches("HyperError: "))
}

/// A text without line breaks and runs of blanks.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use std::io;

    #[test]
    fn a_kubeconfig_that_cannot_be_used_says_why_and_what_to_do() {
        use KubeconfigError as E;
        for (error, words) in [
            (E::FindPath, ["there is no kubeconfig", "--kubeconfig"]),
            (
                E::ReadConfig(io::ErrorKind::NotFound.into(), "/home/a/config".into()),
                ["/home/a/config: entity not found", "KUBECONFIG"],
            ),
            (E::CurrentContextNotSet, ["no current context", "--context"]),
            (E::LoadContext("prod".into()), ["no context `prod`", "get-contexts"]),
            (E::LoadClusterOfContext("c".into()), ["no cluster `c`", "--context"]),
            (E::MissingClusterUrl, ["cluster url is missing", "correct it"]),
        ] {
            let failure = Failure::of_kubeconfig(&error, Some(Path::new("f")));
            assert!(words.iter().all(|word| failure.text.contains(word)), "{}", failure.text);
            assert!(!failure.retry);
        }
    }

    #[test]
    fn a_request_that_fails_says_whose_fault_it_is_and_whether_waiting_helps() {
        let api = |code: u16, message: &str| {
            kube::Error::Api(Status::failure(message, "X").with_code(code).boxed())
        };
        let service = |text: &str| kube::Error::Service(text.to_owned().into());
        for (error, words, retry) in [
            (api(401, "Unauthorized"), ["does not know who asks", "renew the credentials"], false),
            (api(500, "etcd\n is away"), ["etcd is away (HTTP 500)", "list pods"], true),
            (api(429, "slow"), ["HTTP 429", "try again"], true),
            (api(400, "bad"), ["HTTP 400", "its log"], false),
            (service("Connection refused"), ["cannot be reached: Connection", "VPN"], true),
            (
                service("invalid peer certificate: UnknownIssuer"),
                ["is not trusted", "certificate-authority-data"],
                false,
            ),
        ] {
            let failure = Failure::of_request("https://a:1", "list pods", &error);
            assert!(words.iter().all(|word| failure.text.contains(word)), "{}", failure.text);
            assert!(failure.text.contains("https://a:1"), "{}", failure.text);
            assert_eq!(failure.retry, retry, "{}", failure.text);
        }
    }
}
