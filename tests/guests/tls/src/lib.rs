//! A TLS policy that does as the server name says. Its configuration is the plan: a JSON string
//! with any of `hello`, `certificate`, `der`, `request`, `require`.

wit_bindgen::generate!({
    inline: "
        package guest:tls;
        world guest { include penstock:policy/tls-policy@1.0.0; }
    ",
    path: "../../../wit/policy",
    generate_all,
});

use exports::penstock::policy::describe::Guest as Describe;
use exports::penstock::policy::tls::{
    Alert, ClientAuth, ClientHello, Config, Guest, GuestPolicy, HelloDecision, PeerCertificate,
    PeerDecision, Plan, Policy, Problem, San, Terms,
};
use penstock::policy::types::{Descriptor, Fault, Field};

struct Module;

/// One policy.
pub struct Tls {
    wants: String,
}

impl Describe for Module {
    fn describe() -> Descriptor {
        Descriptor {
            name: "guest-tls".into(),
            version: "1.0.0".into(),
            description: "Does as it is told.".into(),
            config_schema: r#"{"type":"string"}"#.into(),
            documentation: String::new(),
        }
    }
}

impl Guest for Module {
    type Policy = Tls;
}

impl GuestPolicy for Tls {
    fn configure(config: Config) -> Result<Policy, Vec<Problem>> {
        Ok(Policy::new(Tls { wants: config.json }))
    }

    fn plan(&self) -> Plan {
        let wants = |word| self.wants.contains(word);
        let client_auth = match () {
            () if wants("require") => ClientAuth::Require,
            () if wants("request") => ClientAuth::Request,
            () => ClientAuth::None,
        };
        Plan {
            client_hello: wants("hello"),
            client_certificate: wants("certificate"),
            want_der: wants("der"),
            client_auth,
        }
    }

    fn on_client_hello(&self, hello: ClientHello) -> Result<HelloDecision, Fault> {
        let seen = format!(
            "{} {} {} {:?} {:?} {:?}",
            hello.listener,
            hello.peer,
            hello.alpn.join("+"),
            hello.cipher_suites,
            hello.signature_schemes,
            hello.groups
        );
        Ok(match hello.sni.as_deref().unwrap_or_default() {
            "reject.example" => HelloDecision::Reject(Alert::UnrecognizedName),
            "terms.example" => HelloDecision::Terminate(Terms {
                profile: Some("modern".into()),
                client_auth: Some(ClientAuth::Require),
                attributes: vec![field("seen", &seen)],
            }),
            "bad.example" => HelloDecision::Terminate(Terms {
                profile: None,
                client_auth: None,
                attributes: vec![field("seen", "a\r\nb")],
            }),
            "fault.example" => return Err("told to".into()),
            "trap.example" => panic!("told to"),
            "loop.example" => loop {
                std::hint::black_box(());
            },
            _ => HelloDecision::Default,
        })
    }

    fn on_client_certificate(
        &self,
        _: ClientHello,
        peer: Option<PeerCertificate>,
    ) -> Result<PeerDecision, Fault> {
        let Some(peer) = peer else { return Ok(PeerDecision::Reject(Alert::CertificateRequired)) };
        let san = match peer.sans.first() {
            Some(San::Dns(text)) => format!("dns:{text}"),
            Some(San::Uri(text)) => format!("uri:{text}"),
            Some(San::Email(text)) => format!("email:{text}"),
            Some(San::Ip(text)) => format!("ip:{text}"),
            None => String::new(),
        };
        let valid = format!("{}-{}", peer.not_before, peer.not_after);
        Ok(PeerDecision::Accept(vec![
            field("san", &san),
            field("chain", &peer.chain.len().to_string()),
            field(
                "who",
                &format!("{} {} {} {}", peer.subject, peer.issuer, peer.serial, peer.sha256),
            ),
            field("valid", &valid),
        ]))
    }
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.into(), value: value.into() }
}

export!(Module);
