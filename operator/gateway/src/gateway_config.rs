//! GatewayConfig: the settings of a Gateway, from its class and its own.

use crate::condition::Problem;
use crate::{Index, Name};
use penstock_config as config;
use penstock_resources::conditions::reasons;
use penstock_resources::duration::DurationError;
use penstock_resources::gateway_api::Gateway;
use penstock_resources::gateway_config::{
    ClientAddress, ClientLimits, GatewayConfigSpec, TlsSettings, TlsVersion,
};
use penstock_resources::{GROUP, GatewayConfig, Kind};

/// The `GatewayConfig` that a Gateway names itself, if any.
///
/// # Errors
/// `InvalidParameters` when it names something else or something that does not exist.
pub(crate) fn of_gateway<'a>(
    index: &'a Index,
    gateway: &Gateway,
    namespace: &str,
) -> Result<Option<&'a GatewayConfig>, Problem> {
    let infrastructure = gateway.spec.infrastructure.as_ref();
    let Some(reference) = infrastructure.and_then(|i| i.parameters_ref.as_ref()) else {
        return Ok(None);
    };
    if reference.group != GROUP || reference.kind != Kind::GatewayConfig.name() {
        return Err(invalid(format!(
            "infrastructure.parametersRef names {} of group `{}`; only GatewayConfig of group \
             {GROUP} is read",
            reference.kind, reference.group
        )));
    }
    let name = Name::new(namespace, &reference.name);
    match index.configs.get(&name) {
        Some(config) => Ok(Some(config)),
        None => Err(invalid(format!("GatewayConfig {name} does not exist"))),
    }
}

/// What nodes are told of a Gateway. A setting of its own beats the same one of its class.
///
/// # Errors
/// `InvalidParameters` when a value cannot be used.
pub(crate) fn translate(
    gateway: &Name,
    class: Option<&GatewayConfig>,
    own: Option<&GatewayConfig>,
) -> Result<config::Gateway, Problem> {
    let (class, own) = (class.map(|c| &c.spec), own.map(|c| &c.spec));
    let tls = pick(own, class, |spec| spec.tls.as_ref());
    let address = pick(own, class, |spec| spec.client_address.as_ref());
    let limits = [own, class].map(|spec| spec.and_then(|s| s.limits.as_ref()));
    let (tls_profiles, default_tls_profile) = profiles(tls)?;
    Ok(config::Gateway {
        name: gateway.to_string(),
        trusted_hops: address.map_or(0, |a: &ClientAddress| a.trusted_hops),
        tls_profiles,
        default_tls_profile,
        limits: Some(merge_limits(limits[0], limits[1])?),
    })
}

fn pick<'a, T>(
    own: Option<&'a GatewayConfigSpec>,
    class: Option<&'a GatewayConfigSpec>,
    part: impl Fn(&'a GatewayConfigSpec) -> Option<&'a T>,
) -> Option<&'a T> {
    own.and_then(&part).or_else(|| class.and_then(&part))
}

fn profiles(tls: Option<&TlsSettings>) -> Result<(Vec<config::TlsProfile>, String), Problem> {
    let spec = GatewayConfigSpec { tls: tls.cloned(), ..GatewayConfigSpec::default() };
    let default = spec.default_tls_profile();
    let profiles: Vec<_> = spec
        .tls_profiles()
        .iter()
        .map(|profile| config::TlsProfile {
            name: profile.name.clone(),
            min_version: match profile.min_version {
                TlsVersion::Tls12 => config::TlsVersion::Tls12,
                TlsVersion::Tls13 => config::TlsVersion::Tls13,
            } as i32,
        })
        .collect();
    if !profiles.iter().any(|profile| profile.name == default) {
        return Err(invalid(format!(
            "tls.defaultProfile of the GatewayConfig names `{default}`, which tls.profiles does \
             not declare"
        )));
    }
    Ok((profiles, default))
}

fn merge_limits(
    own: Option<&ClientLimits>,
    class: Option<&ClientLimits>,
) -> Result<config::Limits, Problem> {
    let number = |part: fn(&ClientLimits) -> Option<u32>| {
        own.and_then(part).or_else(|| class.and_then(part)).unwrap_or(0)
    };
    let time = |part: fn(&ClientLimits) -> Result<Option<u32>, DurationError>| {
        for limits in [own, class].into_iter().flatten() {
            match part(limits) {
                Ok(Some(ms)) => return Ok(ms),
                Ok(None) => {}
                Err(error) => return Err(invalid(format!("limits of the GatewayConfig: {error}"))),
            }
        }
        Ok(0)
    };
    let body = own.and_then(|l| l.max_body_bytes).or_else(|| class.and_then(|l| l.max_body_bytes));
    Ok(config::Limits {
        max_connections: number(|l| l.max_connections),
        max_header_bytes: number(|l| l.max_header_bytes),
        max_headers: number(|l| l.max_headers),
        header_timeout_ms: time(ClientLimits::header_timeout_ms)?,
        idle_timeout_ms: time(ClientLimits::idle_timeout_ms)?,
        max_concurrent_streams: number(|l| l.max_concurrent_streams),
        body_timeout_ms: time(ClientLimits::body_timeout_ms)?,
        max_body_bytes: body.unwrap_or(0),
    })
}

fn invalid(message: String) -> Problem {
    Problem::new(reasons::INVALID_PARAMETERS, message)
}
