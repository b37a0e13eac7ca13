//! A client's certificate as a policy sees it.

use std::fmt::Write;
use std::net::IpAddr;

use penstock_filter_host::{PeerCertificate, San};
use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::oid_registry::{self, Oid};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// Reads a verified chain; `None` where the leaf cannot be read in full.
///
/// Extensions that cannot be read make the whole unreadable: a policy that finds no name must be
/// able to trust that there is none.
pub(super) fn read(chain: &[CertificateDer<'_>], want_der: bool) -> Option<PeerCertificate> {
    let leaf = chain.first()?;
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let sans = match parsed.subject_alternative_name().ok()? {
        Some(extension) => {
            extension.value.general_names.iter().filter_map(san).collect::<Option<_>>()?
        }
        None => Vec::new(),
    };
    Some(PeerCertificate {
        chain: if want_der { chain.iter().map(|der| der.to_vec()).collect() } else { Vec::new() },
        subject: rfc4514(parsed.subject()),
        issuer: rfc4514(parsed.issuer()),
        serial: serial(parsed.raw_serial()),
        sans,
        sha256: hex(&Sha256::digest(leaf)),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
    })
}

/// When the first of the certificates of a chain ends, seconds since 1970.
pub(super) fn valid_until(chain: &[&CertificateDer<'_>]) -> Option<i64> {
    let end = |der: &&CertificateDer<'_>| {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some(parsed.validity().not_after.timestamp())
    };
    chain.iter().map(end).collect::<Option<Vec<_>>>()?.into_iter().min()
}

/// A name with its kind, as `dns:…`, `uri:…`, `email:…` or `ip:…`.
pub(super) fn san_text(san: &San) -> String {
    match san {
        San::Dns(name) => format!("dns:{name}"),
        San::Uri(uri) => format!("uri:{uri}"),
        San::Email(address) => format!("email:{address}"),
        San::Ip(address) => format!("ip:{address}"),
    }
}

/// `None` for kinds that policies do not see, `Some(None)` for one that cannot be read.
fn san(name: &GeneralName<'_>) -> Option<Option<San>> {
    match name {
        GeneralName::DNSName(name) => Some(Some(San::Dns((*name).to_owned()))),
        GeneralName::URI(uri) => Some(Some(San::Uri((*uri).to_owned()))),
        GeneralName::RFC822Name(address) => Some(Some(San::Email((*address).to_owned()))),
        GeneralName::IPAddress(bytes) => Some(ip(bytes).map(|ip| San::Ip(ip.to_string()))),
        GeneralName::Invalid(..) => Some(None),
        _ => None,
    }
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

fn serial(raw: &[u8]) -> String {
    let digits = hex(raw);
    let significant = digits.trim_start_matches("00");
    if significant.is_empty() { "00".into() } else { significant.into() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A distinguished name as text, last RDN first (RFC 4514, section 2.1).
fn rfc4514(name: &X509Name<'_>) -> String {
    let mut rdns: Vec<String> = name
        .iter_rdn()
        .map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+"))
        .collect();
    rdns.reverse();
    rdns.join(",")
}

/// `type=value`: short names for the types of RFC 4514, section 3, else the OID and the value's
/// encoding after `#`.
fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    match (short_name(attribute.attr_type()), attribute.as_str()) {
        (Some(name), Ok(value)) => format!("{name}={}", escape(value)),
        (name, _) => {
            let oid = attribute.attr_type().to_id_string();
            format!("{}=#{}", name.unwrap_or(&oid), hex(&encoding(attribute)))
        }
    }
}

fn short_name(oid: &Oid<'_>) -> Option<&'static str> {
    [
        (oid_registry::OID_X509_COMMON_NAME, "CN"),
        (oid_registry::OID_X509_LOCALITY_NAME, "L"),
        (oid_registry::OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
        (oid_registry::OID_X509_ORGANIZATION_NAME, "O"),
        (oid_registry::OID_X509_ORGANIZATIONAL_UNIT, "OU"),
        (oid_registry::OID_X509_COUNTRY_NAME, "C"),
        (oid_registry::OID_X509_STREET_ADDRESS, "STREET"),
        (oid_registry::OID_DOMAIN_COMPONENT, "DC"),
        (oid_registry::OID_USERID, "UID"),
    ]
    .into_iter()
    .find_map(|(known, name)| (known == *oid).then_some(name))
}

/// Tag, length and content of an attribute's value.
fn encoding(attribute: &AttributeTypeAndValue<'_>) -> Vec<u8> {
    let value = attribute.attr_value();
    let constructed = u8::from(value.header.is_constructed()) << 5;
    let mut bytes = vec![(value.tag().0 & 0x1f) as u8 | constructed];
    match value.data.len() {
        short @ 0..=127 => bytes.push(short as u8),
        long => {
            let length = long.to_be_bytes();
            let significant = &length[length.iter().take_while(|byte| **byte == 0).count()..];
            bytes.push(0x80 | significant.len() as u8);
            bytes.extend_from_slice(significant);
        }
    }
    bytes.extend_from_slice(value.data);
    bytes
}

/// RFC 4514, section 2.4.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let last = value.chars().count().saturating_sub(1);
    for (position, char) in value.chars().enumerate() {
        match char {
            '\0' => text.push_str("\\00"),
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => text.extend(['\\', char]),
            '#' if position == 0 => text.push_str("\\#"),
            ' ' if position == 0 || position == last => text.push_str("\\ "),
            _ => text.push(char),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType, SerialNumber};

    fn signed(params: &CertificateParams) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("signs").der().clone()
    }

    #[test]
    fn a_certificate_is_read_in_full() {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        params.distinguished_name.push(DnType::CommonName, "#client ");
        params.distinguished_name.push(DnType::CustomDnType(vec![1, 2, 3, 4]), "x");
        params.serial_number = Some(SerialNumber::from(vec![0x00, 0xab, 0x01]));
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        params.subject_alt_names = vec![
            SanType::URI("spiffe://acme/web".try_into().expect("ASCII")),
            SanType::DnsName("Web.acme".try_into().expect("ASCII")),
            SanType::Rfc822Name("a@acme".try_into().expect("ASCII")),
            SanType::IpAddress([10, 0, 0, 1].into()),
            SanType::IpAddress(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
        ];
        let der = signed(&params);
        let peer = read(std::slice::from_ref(&der), true).expect("readable");
        assert_eq!(peer.subject, "1.2.3.4=#0c0178,CN=\\#client\\ ,O=Acme\\, Inc.");
        assert_eq!(peer.issuer, peer.subject);
        assert_eq!(peer.serial, "ab01");
        assert_eq!((peer.not_before, peer.not_after), (1_577_836_800, 1_609_459_200));
        let sans: Vec<String> = peer.sans.iter().map(san_text).collect();
        assert_eq!(
            sans,
            ["uri:spiffe://acme/web", "dns:Web.acme", "email:a@acme", "ip:10.0.0.1", "ip:::1"]
        );
        assert_eq!(peer.sha256, hex(&Sha256::digest(&der)));
        assert_eq!(peer.chain, vec![der.to_vec()]);
        assert_eq!(valid_until(&[&der]), Some(1_609_459_200));
        assert!(read(&[der], false).expect("readable").chain.is_empty());
    }

    #[test]
    fn the_first_end_of_validity_counts() {
        let end = |year| {
            let mut params = CertificateParams::default();
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
            signed(&params)
        };
        let (early, late) = (end(2031), end(2041));
        assert_eq!(valid_until(&[&late, &early]), valid_until(&[&early]));
        assert!(valid_until(&[&late]) > valid_until(&[&early]));
        assert_eq!(valid_until(&[&CertificateDer::from(vec![1, 2])]), None);
    }

    #[test]
    fn a_name_that_cannot_be_read_makes_the_certificate_unreadable() {
        let mut params = CertificateParams::default();
        // OID 2.5.29.17 with one IP address of three bytes.
        let san = vec![0x30, 0x05, 0x87, 0x03, 1, 2, 3];
        params.custom_extensions =
            vec![rcgen::CustomExtension::from_oid_content(&[2, 5, 29, 17], san)];
        assert_eq!(read(&[signed(&params)], false), None);
        assert_eq!(read(&[CertificateDer::from(vec![0x30, 0x00])], false), None);
        assert_eq!(read(&[], false), None);
    }

    #[test]
    fn serials_have_no_leading_zero_bytes() {
        for (raw, text) in [(&[0, 0x80, 1][..], "8001"), (&[0], "00"), (&[], "00"), (&[5], "05")] {
            assert_eq!(serial(raw), text);
        }
    }
}
