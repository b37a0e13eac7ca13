//! TLS policy: server names, client certificates and terms of handshakes.

mod config;
mod names;
#[cfg(test)]
mod tests;

use penstock_filter::template::Template;
use penstock_filter::tls::{
    Alert, ClientAuth, ClientHello, HelloDecision, PeerCertificate, PeerDecision, Plan, San, Terms,
};
use penstock_filter::{
    About, Fault, Field, Problem, Problems, TlsPolicy as Policy, export_tls_policy,
};

use config::Config;
use names::{Name, Subject};

/// The rules of one `WasmFilter`.
#[derive(Debug)]
pub struct TlsPolicy {
    names: Vec<Name>,
    profile: Option<String>,
    client_auth: ClientAuth,
    subjects: Vec<Subject>,
    attributes: Vec<(String, Template<Variable>)>,
}

/// What an attribute can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variable {
    San,
    SanValue,
    Subject,
    Issuer,
    Serial,
    Sha256,
}

impl Policy for TlsPolicy {
    type Config = Config;

    fn configure(config: Config, _: &About) -> Result<TlsPolicy, Problems> {
        let mut problems = Problems::new();
        let client_auth = ClientAuth::from(config.client_certificate);
        if client_auth == ClientAuth::None {
            let needs = [
                ("/allowedSans", config.allowed_sans.is_empty()),
                ("/attributes", config.attributes.is_empty()),
            ];
            for (pointer, _) in needs.iter().filter(|(_, empty)| !empty) {
                let message = "needs `clientCertificate: request` or `require`";
                problems.push(Problem::at(*pointer, message));
            }
        }
        let names = config.allowed_names.iter().enumerate();
        let names = names.map(|(at, name)| Name::read(name, &format!("/allowedNames/{at}")));
        let names = kept(names, &mut problems);
        let subjects = config.allowed_sans.iter().enumerate();
        let subjects = subjects.map(|(at, san)| Subject::read(san, &format!("/allowedSans/{at}")));
        let subjects = kept(subjects, &mut problems);
        let attributes = kept(config.attributes.iter().map(attribute), &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(TlsPolicy { names, profile: config.profile, client_auth, subjects, attributes })
    }

    fn plan(&self) -> Plan {
        Plan {
            client_hello: !self.names.is_empty() || self.profile.is_some(),
            client_certificate: self.client_auth != ClientAuth::None,
            want_der: false,
            client_auth: self.client_auth,
        }
    }

    fn on_client_hello(&self, hello: &ClientHello) -> Result<HelloDecision, Fault> {
        let allowed = |name: &str| self.names.iter().any(|allowed| allowed.matches(name));
        if !self.names.is_empty() && !hello.sni.as_deref().is_some_and(allowed) {
            return Ok(HelloDecision::Reject(Alert::UnrecognizedName));
        }
        let terms = Terms::new().client_auth(self.client_auth);
        Ok(HelloDecision::Terminate(Terms { profile: self.profile.clone(), ..terms }))
    }

    fn on_client_certificate(
        &self,
        _: &ClientHello,
        peer: Option<&PeerCertificate>,
    ) -> Result<PeerDecision, Fault> {
        let Some(peer) = peer else {
            return Ok(match self.client_auth {
                ClientAuth::Require => PeerDecision::Reject(Alert::CertificateRequired),
                ClientAuth::None | ClientAuth::Request => PeerDecision::Accept(Vec::new()),
            });
        };
        let allowed = |san: &&San| self.subjects.iter().any(|subject| subject.matches(san));
        let san = if self.subjects.is_empty() {
            peer.sans.first()
        } else {
            match peer.sans.iter().find(allowed) {
                Some(san) => Some(san),
                None => return Ok(PeerDecision::Reject(Alert::AccessDenied)),
            }
        };
        Ok(PeerDecision::Accept(self.attributes(peer, san)))
    }
}

impl TlsPolicy {
    /// Those that have a value; `san` is the name that let the client in.
    fn attributes(&self, peer: &PeerCertificate, san: Option<&San>) -> Vec<Field> {
        let full = san.map(San::to_string);
        let value = |variable: &Variable| match variable {
            Variable::San => full.as_deref(),
            Variable::SanValue => san.map(text),
            Variable::Subject => Some(peer.subject.as_str()),
            Variable::Issuer => Some(peer.issuer.as_str()),
            Variable::Serial => Some(peer.serial.as_str()),
            Variable::Sha256 => Some(peer.sha256.as_str()),
        };
        let attributes = self.attributes.iter();
        attributes
            .filter_map(|(name, template)| Some(Field::new(name, template.render(value)?)))
            .collect()
    }
}

fn text(san: &San) -> &str {
    match san {
        San::Dns(text) | San::Uri(text) | San::Email(text) | San::Ip(text) => text,
    }
}

fn attribute((name, value): (&String, &String)) -> Result<(String, Template<Variable>), Problem> {
    let template = Template::parse(value, |name| match name {
        "san" => Ok(Variable::San),
        "san.value" => Ok(Variable::SanValue),
        "subject" => Ok(Variable::Subject),
        "issuer" => Ok(Variable::Issuer),
        "serial" => Ok(Variable::Serial),
        "sha256" => Ok(Variable::Sha256),
        other => Err(format!(
            "`{other}` is unknown; known are san, san.value, subject, issuer, serial, sha256"
        )),
    });
    let pointer = || format!("/attributes/{}", name.replace('~', "~0").replace('/', "~1"));
    template.map(|template| (name.clone(), template)).map_err(|error| Problem::at(pointer(), error))
}

/// What is right; what is wrong goes to the problems.
fn kept<T>(results: impl Iterator<Item = Result<T, Problem>>, problems: &mut Problems) -> Vec<T> {
    results.filter_map(|result| result.map_err(|problem| problems.push(problem)).ok()).collect()
}

export_tls_policy!(TlsPolicy, include_str!("../README.md"));
