//! What the policy decides.

use penstock_filter::from_json;

use super::*;

fn policy(json: &str) -> TlsPolicy {
    TlsPolicy::configure(from_json(json).unwrap(), &About::default()).unwrap()
}

fn hello(sni: Option<&str>) -> ClientHello {
    ClientHello {
        listener: "shop/edge/https".into(),
        peer: "192.0.2.1".into(),
        sni: sni.map(str::to_owned),
        alpn: vec!["h2".into()],
        cipher_suites: vec![0x1301],
        signature_schemes: vec![0x0403],
        groups: vec![29],
    }
}

fn peer(sans: &[San]) -> PeerCertificate {
    PeerCertificate {
        chain: Vec::new(),
        subject: "CN=web".into(),
        issuer: "CN=ca".into(),
        serial: "0a".into(),
        sans: sans.to_vec(),
        sha256: "ff".into(),
        not_before: 0,
        not_after: 1,
    }
}

fn on_certificate(policy: &TlsPolicy, sans: Option<&[San]>) -> PeerDecision {
    let peer = sans.map(peer);
    policy.on_client_certificate(&hello(None), peer.as_ref()).unwrap()
}

#[test]
fn a_name_that_is_not_listed_is_turned_away() {
    let policy = policy(r#"{"allowedNames": ["shop.example", "*.api.example"]}"#);
    let decide = |sni| policy.on_client_hello(&hello(sni)).unwrap();
    let rejected = HelloDecision::Reject(Alert::UnrecognizedName);
    for sni in [None, Some("example"), Some("api.example"), Some("shop.example.evil")] {
        assert_eq!(decide(sni), rejected, "{sni:?}");
    }
    for sni in ["shop.example", "v1.api.example"] {
        assert_ne!(decide(Some(sni)), rejected, "{sni}");
    }
}

#[test]
fn terms_name_the_profile_and_the_certificate() {
    let policy = policy(r#"{"profile": "modern", "clientCertificate": "require"}"#);
    let terms = Terms::new().profile("modern").client_auth(ClientAuth::Require);
    assert_eq!(policy.on_client_hello(&hello(None)), Ok(HelloDecision::Terminate(terms)));
}

#[test]
fn the_policy_is_called_only_where_it_has_something_to_say() {
    let plan = |json| {
        let Plan { client_hello, client_certificate, client_auth, want_der } = policy(json).plan();
        assert!(!want_der);
        (client_hello, client_certificate, client_auth)
    };
    assert_eq!(plan("null"), (false, false, ClientAuth::None));
    assert_eq!(plan(r#"{"profile": "modern"}"#), (true, false, ClientAuth::None));
    let require = r#"{"clientCertificate": "require"}"#;
    assert_eq!(plan(require), (false, true, ClientAuth::Require));
}

#[test]
fn rfc_8446_section_6_2_the_alert_says_what_was_missing() {
    let policy = policy(
        r#"{"clientCertificate": "require", "allowedSans": [{"uriPrefix": "spiffe://prod/"}]}"#,
    );
    assert_eq!(on_certificate(&policy, None), PeerDecision::Reject(Alert::CertificateRequired));
    let denied = PeerDecision::Reject(Alert::AccessDenied);
    assert_eq!(on_certificate(&policy, Some(&[])), denied);
    assert_eq!(on_certificate(&policy, Some(&[San::Uri("spiffe://dev/a".into())])), denied);
}

#[test]
fn a_requested_certificate_may_be_missing_but_not_wrong() {
    let policy = policy(r#"{"clientCertificate": "request", "allowedSans": [{"dns": "*.mesh"}]}"#);
    assert_eq!(on_certificate(&policy, None), PeerDecision::Accept(Vec::new()));
    let wrong = [San::Dns("a.other".into())];
    assert_eq!(on_certificate(&policy, Some(&wrong)), PeerDecision::Reject(Alert::AccessDenied));
}

#[test]
fn attributes_are_of_the_name_that_let_the_client_in() {
    let policy = policy(
        r#"{
            "clientCertificate": "require",
            "allowedSans": [{"uriPrefix": "spiffe://prod/"}],
            "attributes": {"client": "{san}", "workload": "{san.value}", "issuer": "{issuer}"}
        }"#,
    );
    let sans = [San::Dns("web.mesh".into()), San::Uri("spiffe://prod/web".into())];
    let expected = vec![
        Field::new("client", "uri:spiffe://prod/web"),
        Field::new("issuer", "CN=ca"),
        Field::new("workload", "spiffe://prod/web"),
    ];
    assert_eq!(on_certificate(&policy, Some(&sans)), PeerDecision::Accept(expected));
}

#[test]
fn an_attribute_without_a_value_is_left_out() {
    let policy = policy(
        r#"{"clientCertificate": "require", "attributes": {"a": "{san}", "b": "{san|none}"}}"#,
    );
    let expected = vec![Field::new("b", "none")];
    assert_eq!(on_certificate(&policy, Some(&[])), PeerDecision::Accept(expected));
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_place() {
    let config = from_json(
        r#"{
            "allowedNames": ["ok.example", "*"],
            "allowedSans": [{"ip": "256.0.0.1"}],
            "attributes": {"a/b": "{sn}"}
        }"#,
    );
    let problems = TlsPolicy::configure(config.unwrap(), &About::default()).unwrap_err();
    let pointers: Vec<_> = problems.iter().map(|problem| problem.pointer.as_str()).collect();
    let expected =
        ["/allowedSans", "/attributes", "/allowedNames/1", "/allowedSans/0/ip", "/attributes/a~1b"];
    assert_eq!(pointers, expected);
}
