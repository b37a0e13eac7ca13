//! From a crate to a component: one cargo invocation, then the encoder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use wit_component::{ComponentEncoder, DecodedWasm};

use crate::root;
use crate::tools::{wasm_toolchain, without_cargo};

/// The one target of components: it brings no WASI imports, so that a component's imports are its
/// capabilities.
const TARGET: &str = "wasm32-unknown-unknown";

/// A component that was built.
#[derive(Debug)]
pub struct Component {
    /// Name of the package.
    pub name: String,
    /// The component.
    pub bytes: Vec<u8>,
}

/// What cargo says of each thing that it made; other messages have none of these.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// Builds every `cdylib` of a workspace (a folder) for `wasm32-unknown-unknown` in its release
/// profile, into a folder of the target directory, and makes components of them, by name.
///
/// # Errors
/// No toolchain, a crate that does not compile, a module that is no policy.
pub fn build(workspace: &Path, target_dir: &Path) -> Result<Vec<Component>> {
    let mut components = cdylibs(workspace, target_dir)?
        .into_iter()
        .map(|(name, path)| {
            let module =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let bytes = encode(&module).with_context(|| format!("{name} is no component"))?;
            Ok(Component { name, bytes })
        })
        .collect::<Result<Vec<_>>>()?;
    components.sort_by(|a, b| a.name.cmp(&b.name));
    ensure!(!components.is_empty(), "{} has no crate of type cdylib", workspace.display());
    Ok(components)
}

/// Makes a component of a core module that carries its component type (as wit-bindgen leaves it).
///
/// # Errors
/// The module has no component type, or does not export what that promises.
pub fn encode(module: &[u8]) -> Result<Vec<u8>> {
    ComponentEncoder::default().validate(true).module(module)?.encode()
}

/// What a component imports, for example `penstock:host/log@1.0.0`.
///
/// # Errors
/// The bytes are no component.
pub fn imports(component: &[u8]) -> Result<Vec<String>> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component)? else {
        return Err(anyhow!("a package of interfaces, no component"));
    };
    let imports = resolve.worlds[world].imports.keys();
    Ok(imports.map(|key| resolve.name_world_key(key)).collect())
}

/// Where components are built: beside everything else that cargo makes.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn cdylibs(workspace: &Path, target_dir: &Path) -> Result<Vec<(String, PathBuf)>> {
    let mut cargo = Command::new("cargo");
    without_cargo(&mut cargo)
        .args(wasm_toolchain()?)
        .args(["build", "--workspace", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics", "--target-dir"])
        .arg(target_dir)
        // Also where cargo looks for the workspace's `.cargo/config.toml`.
        .current_dir(workspace)
        .stderr(Stdio::inherit());
    let output = cargo.output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the crates of {} do not build", workspace.display());
    let messages = String::from_utf8(output.stdout)?;
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let cdylibs = artifacts.filter(|artifact| artifact.target.kind.iter().any(|k| k == "cdylib"));
    Ok(cdylibs
        .filter_map(|Artifact { target, mut filenames }| {
            filenames.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
            Some((target.name.replace('_', "-"), filenames.pop()?))
        })
        .collect())
}
