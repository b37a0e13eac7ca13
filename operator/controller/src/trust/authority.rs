//! Certificates and keys as values.
//!
//! Rotation in three steps, so that no node ever meets a certificate it does not trust: a next CA is
//! published beside the present one; a day later it signs; when the last certificate of the former
//! one has ended, that one is no longer published.

use aws_lc_rs::{
    encoding::AsDer,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use k8s_openapi::ByteString;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::{collections::BTreeMap, fmt};

/// Days that a CA is valid.
const CA_DAYS: i64 = 365;
/// Days before its end at which the next one is made.
const ROTATE_DAYS: i64 = 90;
/// Days that the next one is published before it signs.
const PUBLISH_DAYS: i64 = 1;
/// Days that a serving certificate is valid.
const LEAF_DAYS: i64 = 7;

/// Keys of the Secret.
const CERTIFICATE: &str = "ca.crt";
const KEY: &str = "ca.key";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const FORMER_CERTIFICATE: &str = "former.crt";
const MODULES_KEY: &str = "modules.key";

/// Why nothing can be trusted. Whoever wrote the Secret is at fault; a retry does not help.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A key of the Secret is missing.
    #[error("the Secret has no key {0}; delete it, and a new one is made")]
    Missing(&'static str),
    /// A key of the Secret cannot be read.
    #[error("{0} of the Secret cannot be read ({1}); delete it, and a new one is made")]
    Unreadable(&'static str, String),
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// A key cannot be made.
    #[error("cannot make a key to sign modules with")]
    Key,
}

/// The CA, and the key that modules are signed with.
#[derive(Clone, PartialEq)]
pub struct Authority {
    current: Ca,
    next: Option<Ca>,
    former: Option<String>,
    /// PKCS #8.
    modules_key: Vec<u8>,
}

#[derive(Clone, PartialEq)]
struct Ca {
    certificate: String,
    key: String,
    from: Timestamp,
    until: Timestamp,
}

/// What the stream is served with.
pub struct ServingCertificate {
    /// PEM, leaf first.
    pub chain: String,
    /// PEM.
    pub key: String,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("until", &self.current.until).finish_non_exhaustive()
    }
}

impl fmt::Debug for ServingCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServingCertificate").finish_non_exhaustive()
    }
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn generate(now: Timestamp) -> Result<Self, TrustError> {
        let modules_key = Ed25519KeyPair::generate().map_err(|_| TrustError::Key)?;
        let modules_key = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&modules_key)
            .map_err(|_| TrustError::Key)?;
        Ok(Self {
            current: Ca::generate(now)?,
            next: None,
            former: None,
            modules_key: modules_key.as_ref().to_vec(),
        })
    }

    /// Reads `data` of the Secret.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn from_data(data: &BTreeMap<String, ByteString>) -> Result<Self, TrustError> {
        let text = |name: &'static str| -> Result<Option<String>, TrustError> {
            let Some(ByteString(bytes)) = data.get(name) else { return Ok(None) };
            let text = String::from_utf8(bytes.clone());
            text.map(Some).map_err(|error| TrustError::Unreadable(name, error.to_string()))
        };
        let needed = |name| text(name)?.ok_or(TrustError::Missing(name));
        let next = match (text(NEXT_CERTIFICATE)?, text(NEXT_KEY)?) {
            (Some(certificate), Some(key)) => Some(Ca::read(NEXT_CERTIFICATE, certificate, key)?),
            _ => None,
        };
        let modules_key = data.get(MODULES_KEY).ok_or(TrustError::Missing(MODULES_KEY))?.0.clone();
        let authority = Self {
            current: Ca::read(CERTIFICATE, needed(CERTIFICATE)?, needed(KEY)?)?,
            next,
            former: text(FORMER_CERTIFICATE)?,
            modules_key,
        };
        authority.modules_key_pair()?;
        Ok(authority)
    }

    /// `data` of the Secret.
    pub fn to_data(&self) -> BTreeMap<String, ByteString> {
        let mut data = BTreeMap::from([
            (CERTIFICATE, self.current.certificate.clone().into_bytes()),
            (KEY, self.current.key.clone().into_bytes()),
            (MODULES_KEY, self.modules_key.clone()),
        ]);
        if let Some(next) = &self.next {
            data.insert(NEXT_CERTIFICATE, next.certificate.clone().into_bytes());
            data.insert(NEXT_KEY, next.key.clone().into_bytes());
        }
        if let Some(former) = &self.former {
            data.insert(FORMER_CERTIFICATE, former.clone().into_bytes());
        }
        data.into_iter().map(|(name, bytes)| (name.to_owned(), ByteString(bytes))).collect()
    }

    /// Takes the next step of a rotation when it is due. Says whether there was one.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn rotate(&mut self, now: Timestamp) -> Result<bool, TrustError> {
        if let Some(next) = self.next.take_if(|next| later(next.from, PUBLISH_DAYS + 1) <= now) {
            let former = std::mem::replace(&mut self.current, next);
            self.former = Some(former.certificate);
            return Ok(true);
        }
        if self.next.is_none() && later(self.current.until, -ROTATE_DAYS) <= now {
            self.next = Some(Ca::generate(now)?);
            return Ok(true);
        }
        // It began to sign some days after it began to be valid.
        let signs_alone = later(self.current.from, PUBLISH_DAYS + LEAF_DAYS + 2);
        if self.former.is_some() && signs_alone <= now {
            self.former = None;
            return Ok(true);
        }
        Ok(false)
    }

    /// Whom nodes have to trust: PEM.
    pub fn anchors(&self) -> String {
        let others = self.next.iter().map(|next| &next.certificate).chain(&self.former);
        std::iter::once(&self.current.certificate).chain(others).cloned().collect()
    }

    /// A certificate for a server with these names.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn serving(
        &self,
        names: &[String],
        now: Timestamp,
    ) -> Result<ServingCertificate, TrustError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = name("penstock-operator");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, now, LEAF_DAYS);
        let issuer = Issuer::new(ca_params(), KeyPair::from_pem(&self.current.key)?);
        let certificate = params.signed_by(&key, &issuer)?;
        Ok(ServingCertificate { chain: certificate.pem(), key: key.serialize_pem() })
    }

    /// What modules are signed with.
    ///
    /// # Errors
    /// [`TrustError::Unreadable`].
    pub fn modules_key_pair(&self) -> Result<Ed25519KeyPair, TrustError> {
        Ed25519KeyPair::from_pkcs8(&self.modules_key)
            .map_err(|error| TrustError::Unreadable(MODULES_KEY, error.to_string()))
    }

    /// What signatures of modules are checked with: the 32 bytes of an Ed25519 public key (RFC 8032)
    /// in Base64.
    ///
    /// # Errors
    /// [`TrustError::Unreadable`].
    pub fn modules_public_key(&self) -> Result<String, TrustError> {
        Ok(STANDARD.encode(self.modules_key_pair()?.public_key()))
    }
}

impl Ca {
    fn generate(now: Timestamp) -> Result<Self, TrustError> {
        let key = KeyPair::generate()?;
        let mut params = ca_params();
        valid(&mut params, now, CA_DAYS);
        let certificate = params.self_signed(&key)?.pem();
        Ca::read(CERTIFICATE, certificate, key.serialize_pem())
    }

    fn read(what: &'static str, certificate: String, key: String) -> Result<Self, TrustError> {
        let unreadable = |error: &dyn fmt::Display| TrustError::Unreadable(what, error.to_string());
        KeyPair::from_pem(&key).map_err(|error| unreadable(&error))?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes())
            .map_err(|error| unreadable(&error))?;
        let validity = pem.parse_x509().map_err(|error| unreadable(&error))?.validity().clone();
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|error| unreadable(&error))
        };
        let (from, until) = (time(validity.not_before)?, time(validity.not_after)?);
        Ok(Self { certificate, key, from, until })
    }
}

/// All CAs have one name and differ by their keys.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("Penstock node stream");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

fn later(time: Timestamp, days: i64) -> Timestamp {
    time.saturating_add((24 * days).hours()).unwrap_or(time)
}

/// Validity from yesterday on (clocks of nodes go wrong), for so many days.
fn valid(params: &mut CertificateParams, now: Timestamp, days: i64) {
    let day = |days| {
        let date = later(now, days).to_zoned(TimeZone::UTC).date();
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        date_time_ymd(i32::from(date.year()), month, day)
    };
    (params.not_before, params.not_after) = (day(-1), day(days));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().expect("a time")
    }

    fn authority() -> Authority {
        Authority::generate(start()).expect("an authority")
    }

    fn certificates(pem: &str) -> usize {
        pem.matches("BEGIN CERTIFICATE").count()
    }

    #[test]
    fn what_is_kept_in_a_secret_is_read_again() {
        let mut authority = authority();
        authority.next = Some(Ca::generate(start()).expect("a CA"));
        authority.former = Some(authority.current.certificate.clone());
        let read = Authority::from_data(&authority.to_data()).expect("readable");
        assert!(read == authority);
        assert_eq!(certificates(&read.anchors()), 3);
    }

    #[test]
    fn a_secret_that_lacks_or_garbles_something_is_refused_by_name() {
        for name in [CERTIFICATE, KEY, MODULES_KEY] {
            let mut data = authority().to_data();
            data.insert(name.to_owned(), ByteString(b"x".to_vec()));
            let error = Authority::from_data(&data).expect_err("garbled").to_string();
            assert!(error.contains("delete it"), "{error}");
            data.remove(name);
            let error = Authority::from_data(&data).expect_err("missing").to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_rotation_publishes_first_signs_later_and_forgets_last() {
        let mut authority = authority();
        let first = authority.current.certificate.clone();
        let mut now = start();
        let mut steps = Vec::new();
        for day in 0..2 * CA_DAYS {
            now = later(start(), day);
            if authority.rotate(now).expect("a step") {
                let signs = authority.current.certificate == first;
                steps.push((day, certificates(&authority.anchors()), signs));
            }
            assert!(!authority.rotate(now).expect("no step"), "one step a day");
            assert!(now < authority.current.until, "the CA that signs is valid");
        }
        let began = CA_DAYS - ROTATE_DAYS;
        assert_eq!(steps[0], (began, 2, true), "published beside the present one");
        assert_eq!((steps[1].1, steps[1].2), (2, false), "signs, and the former one is trusted");
        assert!(steps[1].0 > began, "{steps:?}");
        assert_eq!((steps[2].1, steps[2].2), (1, false));
        assert!(steps[2].0 >= steps[1].0 + LEAF_DAYS, "{steps:?}");
        assert!(now > start());
    }

    #[test]
    fn a_server_is_trusted_by_its_name_through_every_step_of_a_rotation() {
        let names = ["penstock-stream.penstock-system.svc".to_owned()];
        let authority = authority();
        let serving = authority.serving(&names, start()).expect("a certificate");
        let (_, pem) = x509_parser::pem::parse_x509_pem(serving.chain.as_bytes()).expect("PEM");
        let leaf = pem.parse_x509().expect("a certificate");
        let (_, ca) =
            x509_parser::pem::parse_x509_pem(authority.anchors().as_bytes()).expect("PEM");
        let ca = ca.parse_x509().expect("a certificate");
        assert_eq!(leaf.issuer(), ca.subject());
        let names = leaf.subject_alternative_name().expect("readable").expect("there");
        assert!(format!("{:?}", names.value).contains("penstock-stream.penstock-system.svc"));
        let days = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
        assert_eq!(days / 86_400, LEAF_DAYS + 1);
    }

    #[test]
    fn a_signature_is_checked_with_the_published_key_rfc_8032() {
        use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
        let authority = authority();
        let signature = authority.modules_key_pair().expect("a key").sign(b"module");
        let public = STANDARD.decode(authority.modules_public_key().expect("a key"));
        let public = public.expect("Base64");
        assert_eq!(public.len(), 32);
        let public = UnparsedPublicKey::new(&ED25519, public);
        assert!(public.verify(b"module", signature.as_ref()).is_ok());
        assert!(public.verify(b"other", signature.as_ref()).is_err());
    }
}
