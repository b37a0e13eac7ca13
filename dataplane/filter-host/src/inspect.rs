//! What can be said of a component from its type alone, before any of its code runs.

use penstock_config::PolicyKind;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use crate::error::ModuleError;
use crate::grants::Grants;

/// Kind of policy and imported capabilities.
pub(crate) fn inspect(
    engine: &Engine,
    component: &Component,
) -> Result<(PolicyKind, Grants), ModuleError> {
    let ty = component.component_type();
    let exports = ty.exports(engine).filter_map(|(name, _)| interface(name, "penstock:policy/"));
    let exports: Vec<&str> = exports.collect();
    let kind = kind(&exports)?;

    let mut grants = Vec::new();
    let mut unknown = Vec::new();
    for (name, item) in ty.imports(engine) {
        match interface(name, "penstock:host/") {
            Some(interface) if Grants::parse([interface]).is_ok() => grants.push(interface),
            _ if has_only_types(engine, &item.ty) => {}
            _ => unknown.push(name.to_owned()),
        }
    }
    if !unknown.is_empty() {
        unknown.sort();
        return Err(ModuleError::UnknownImports(unknown));
    }
    Ok((kind, Grants::parse(grants).unwrap_or_default()))
}

/// The interface `x` of `penstock:policy/x@1.y.z`.
fn interface<'a>(name: &'a str, package: &str) -> Option<&'a str> {
    let (interface, version) = name.strip_prefix(package)?.split_once('@')?;
    version.starts_with("1.").then_some(interface)
}

fn kind(exports: &[&str]) -> Result<PolicyKind, ModuleError> {
    if !exports.contains(&"describe") {
        return Err(ModuleError::WrongWorld(
            "it does not export penstock:policy/describe@1.0.0".to_owned(),
        ));
    }
    let kinds = [PolicyKind::Headers, PolicyKind::Paths, PolicyKind::Tls];
    let mut found = kinds.into_iter().filter(|kind| exports.contains(&kind.name()));
    match (found.next(), found.next()) {
        (Some(kind), None) => Ok(kind),
        (None, _) => Err(ModuleError::WrongWorld(
            "it exports none of penstock:policy/headers, paths and tls".to_owned(),
        )),
        (Some(a), Some(b)) => Err(ModuleError::WrongWorld(format!(
            "it exports both penstock:policy/{} and {}; a module is one kind of policy",
            a.name(),
            b.name()
        ))),
    }
}

/// Interfaces that only define types (`penstock:policy/types`) stand among a component's imports
/// without giving it anything.
fn has_only_types(engine: &Engine, item: &ComponentItem) -> bool {
    match item {
        ComponentItem::Type(_) => true,
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).all(|(_, export)| matches!(export.ty, ComponentItem::Type(_)))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_exactly_one_kind_of_policy() {
        assert_eq!(kind(&["describe", "paths"]), Ok(PolicyKind::Paths));
        for exports in [&["headers"][..], &["describe"], &["describe", "headers", "tls"]] {
            assert!(matches!(kind(exports), Err(ModuleError::WrongWorld(_))), "{exports:?}");
        }
    }

    #[test]
    fn every_minor_version_of_the_package_counts_and_no_other_major() {
        let found = |name| interface(name, "penstock:policy/");
        assert_eq!(found("penstock:policy/headers@1.0.0"), Some("headers"));
        assert_eq!(found("penstock:policy/headers@1.3.2"), Some("headers"));
        assert_eq!(found("penstock:policy/headers@2.0.0"), None);
        assert_eq!(found("penstock:policy/headers@10.0.0"), None);
        assert_eq!(found("other:policy/headers@1.0.0"), None);
    }
}
