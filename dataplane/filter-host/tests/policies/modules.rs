//! What a component must be to become a module.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use penstock_config::PolicyKind;
use penstock_filter_host::{
    CompiledModule, Host, HostConfig, ModuleError,
    signature::{ENGINE, Subject, TARGET, sign},
};

use crate::support::{Words, config, count, guest, mode, prepare, shared};
use penstock_filter_host::Worker;

#[test]
fn a_module_says_what_it_is() {
    let info = shared().module(&penstock_filter_host::digest(guest("headers"))).expect("loaded");
    assert_eq!((info.kind, info.imports.len()), (PolicyKind::Headers, 0));
    assert_eq!(info.size, guest("headers").len());
    assert_eq!(
        (info.descriptor.name.as_str(), info.descriptor.version.as_str()),
        ("guest-headers", "1.2.3")
    );
    assert!(info.descriptor.config_schema.contains("minLength"));
    for (name, kind) in [("paths", PolicyKind::Paths), ("tls", PolicyKind::Tls)] {
        let info = shared().module(&penstock_filter_host::digest(guest(name))).expect("loaded");
        assert_eq!(info.kind, kind);
    }
}

#[test]
fn imports_are_the_list_of_capabilities() {
    let info = shared().module(&penstock_filter_host::digest(guest("capable"))).expect("loaded");
    assert_eq!(info.imports, ["clock", "log", "metrics", "random", "trace"]);
}

#[test]
fn what_is_no_component_is_refused() {
    for bytes in [&b""[..], b"hello", b"\0asm\x01\0\0\0"] {
        let error = shared().compile(bytes).expect_err("no component");
        assert!(matches!(error, ModuleError::NotAComponent(_)), "{error}");
    }
}

#[test]
fn a_component_of_another_world_is_refused_and_the_error_says_what_is_missing() {
    let error = shared().compile(guest("describe-only")).expect_err("no policy");
    assert!(
        error.to_string().contains("none of penstock:policy/headers, paths and tls"),
        "{error}"
    );
    let error = shared().compile(guest("two-kinds")).expect_err("two policies");
    assert!(error.to_string().contains("penstock:policy/headers and paths"), "{error}");
}

#[test]
fn imports_beyond_the_grantable_ones_are_refused_by_name() {
    let error = shared().compile(guest("foreign-import")).expect_err("a foreign import");
    assert_eq!(error, ModuleError::UnknownImports(vec!["guest:odd/files".to_owned()]));
}

#[test]
fn describe_has_no_capability_whatever_the_module_imports() {
    let error = shared().compile(guest("describe-traps")).expect_err("a trap");
    assert!(matches!(error, ModuleError::Describe(_)), "{error}");
}

#[test]
fn a_schema_that_is_none_is_refused() {
    let error = shared().compile(guest("bad-schema")).expect_err("no schema");
    assert!(matches!(error, ModuleError::ConfigSchema(_)), "{error}");
}

#[test]
fn a_module_that_is_too_large_is_refused_before_it_is_compiled() {
    let size = guest("headers").len();
    let host = Host::new(HostConfig { max_module_bytes: size - 1, ..config() }).expect("a host");
    let error = host.compile(guest("headers")).expect_err("too large");
    assert_eq!(error, ModuleError::TooLarge { size, limit: size - 1 });
}

#[test]
fn an_unloaded_module_is_gone_and_policies_made_from_it_go_on() {
    let host = Host::new(config()).expect("a host");
    let module = host.compile(guest("headers")).expect("a module");
    let digest = module.info().digest.clone();
    host.load(module);
    let mut worker = Worker::new(&host);
    let policy = prepare(&mut worker, &mode("shop/a", "obey"));
    host.unload(&digest);
    assert_eq!(host.module(&digest), None);
    assert!(host.check(&mode("shop/a", "obey")).is_err());
    assert_eq!(count(&worker.on_request(&policy, &Words::default())), 1);
}

#[test]
#[expect(unsafe_code, reason = "the artifact was made two lines above")]
fn a_compiled_module_travels_as_bytes() {
    let module = shared().compile(guest("capable")).expect("a module");
    let artifact = module.to_artifact().expect("an artifact");
    let host = Host::new(config()).expect("a host");
    // SAFETY: unchanged bytes of `to_artifact`.
    let loaded = unsafe { CompiledModule::from_artifact(&host, &artifact) }.expect("a module");
    assert_eq!(loaded.info(), module.info());
    // SAFETY: refused before anything is interpreted as code.
    let error = unsafe { CompiledModule::from_artifact(&host, b"something else") };
    assert!(matches!(error, Err(ModuleError::Artifact(_))));
}

/// The way in which a proxy gets modules.
#[test]
fn a_proxy_loads_what_its_operator_signed_for_this_very_module_and_nothing_else() {
    let module = shared().compile(guest("headers")).expect("a module");
    let other = shared().compile(guest("capable")).expect("a module");
    let artifact = |module: &CompiledModule| module.to_artifact().expect("an artifact");
    let (operator, foreigner) =
        (Ed25519KeyPair::generate().expect("a key"), Ed25519KeyPair::generate().expect("a key"));
    let key = operator.public_key().as_ref();
    let wanted = module.info().digest.as_str();
    let of = |digest| Subject { digest, engine: ENGINE, target: TARGET };
    let host = Host::new(config()).expect("a host");
    for (bytes, cause) in [
        (artifact(&module), "not a signed artifact"),
        (sign(&artifact(&module), of(wanted), &foreigner), "another operator"),
        (sign(&artifact(&other), of(&other.info().digest), &operator), "for another module"),
        // Even the operator cannot pass one module off as another.
        (sign(&artifact(&other), of(wanted), &operator), "it says that it is"),
    ] {
        let error = host.load_signed(wanted, &bytes, key).expect_err(cause);
        assert!(error.to_string().contains(cause), "{error}");
        assert!(host.module(wanted).is_none() && host.module(&other.info().digest).is_none());
    }
    let signed = sign(&artifact(&module), of(wanted), &operator);
    host.load_signed(wanted, &signed, key).expect("it is ours");
    assert!(host.module(wanted).is_some());
}
