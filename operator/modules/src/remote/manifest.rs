//! Manifests of OCI artifacts (OCI image specification 1.1).

use super::reference::is_digest;
use serde::Deserialize;

/// Media types of manifests that are understood, for `Accept`.
pub(crate) const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
/// Media types of layers that are a component: that of WASM OCI artifacts, and the one that
/// older tools write.
const COMPONENTS: [&str; 2] = ["application/wasm", "application/vnd.wasm.content.layer.v1+wasm"];

/// Something in a registry.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
}

/// Where a manifest leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To the component.
    Component(Descriptor),
    /// To another manifest.
    Manifest(Descriptor),
}

#[derive(Deserialize)]
struct Manifest {
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
}

/// Reads a manifest.
///
/// # Errors
/// What is wrong with it, for whoever pushed it.
pub(crate) fn target(manifest: &[u8]) -> Result<Target, String> {
    let manifest: Manifest = serde_json::from_slice(manifest)
        .map_err(|error| format!("its manifest cannot be read: {error}"))?;
    let target = match (manifest.layers, manifest.manifests) {
        (Some(layers), None) => Target::Component(component(layers)?),
        (None, Some(manifests)) => Target::Manifest(for_wasm(manifests)?),
        _ => return Err("its manifest is neither that of an image nor an index".to_owned()),
    };
    let (Target::Component(descriptor) | Target::Manifest(descriptor)) = &target;
    if !is_digest(&descriptor.digest) {
        return Err(format!(
            "its manifest names a digest that is not SHA-256: {}",
            short(&descriptor.digest)
        ));
    }
    Ok(target)
}

fn component(layers: Vec<Descriptor>) -> Result<Descriptor, String> {
    let has = |layer: &Descriptor| COMPONENTS.contains(&layer.media_type.as_str());
    let others: Vec<String> = layers.iter().map(|layer| short(&layer.media_type)).take(4).collect();
    let mut found = layers.into_iter().filter(has);
    match (found.next(), found.next()) {
        (Some(layer), None) => Ok(layer),
        (Some(_), Some(_)) => Err("it has several layers of type application/wasm".to_owned()),
        (None, _) => Err(format!(
            "it has no layer of type application/wasm, only: {}",
            if others.is_empty() { "none".to_owned() } else { others.join(", ") }
        )),
    }
}

/// The only manifest of an index, or the only one for wasm.
fn for_wasm(mut manifests: Vec<Descriptor>) -> Result<Descriptor, String> {
    if manifests.len() > 1 {
        let is_wasm = |p: &Platform| p.architecture == "wasm" || p.architecture == "wasm32";
        manifests.retain(|manifest| manifest.platform.as_ref().is_some_and(is_wasm));
    }
    match manifests.len() {
        1 => Ok(manifests.remove(0)),
        n => Err(format!("its index has {n} manifests for architecture wasm")),
    }
}

/// What others wrote, on one line that does not grow without bound.
fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn digest(of: char) -> String {
        format!("sha256:{}", of.to_string().repeat(64))
    }

    fn read(manifest: &Value) -> Result<Target, String> {
        target(&serde_json::to_vec(manifest).expect("JSON"))
    }

    #[test]
    fn the_one_layer_that_is_a_component_is_found() {
        for media_type in COMPONENTS {
            let manifest = json!({"schemaVersion": 2, "config": {}, "layers": [
                {"mediaType": "text/plain", "digest": digest('a'), "size": 1},
                {"mediaType": media_type, "digest": digest('b'), "size": 2},
            ]});
            let Ok(Target::Component(layer)) = read(&manifest) else { panic!("{manifest}") };
            assert_eq!((layer.digest, layer.size), (digest('b'), 2));
        }
    }

    #[test]
    fn an_index_leads_to_its_only_manifest_or_to_that_for_wasm() {
        let one = json!({"manifests": [{"digest": digest('a')}]});
        let several = json!({"manifests": [
            {"digest": digest('b'), "platform": {"architecture": "amd64", "os": "linux"}},
            {"digest": digest('a'), "platform": {"architecture": "wasm", "os": "wasip2"}},
            {"digest": digest('c')},
        ]});
        for index in [one, several] {
            let Ok(Target::Manifest(manifest)) = read(&index) else { panic!("{index}") };
            assert_eq!(manifest.digest, digest('a'));
        }
    }

    #[test]
    fn what_holds_no_component_says_why() {
        let wasm = json!({"mediaType": "application/wasm", "digest": digest('a')});
        for (manifest, cause) in [
            (json!({}), "neither"),
            (json!({"layers": [], "manifests": []}), "neither"),
            (json!({"layers": []}), "only: none"),
            (json!({"layers": [{"mediaType": "a\nb", "digest": digest('a')}]}), "only: ab"),
            (json!({"layers": [wasm.clone(), wasm]}), "several layers"),
            (json!({"layers": [{"mediaType": "application/wasm", "digest": "md5:1"}]}), "md5:1"),
            (
                json!({"layers": [{"mediaType": "application/wasm", "digest": "../../x"}]}),
                "SHA-256",
            ),
            (json!({"manifests": []}), "0 manifests"),
            (
                json!({"manifests": [{"digest": digest('a')}, {"digest": digest('b')}]}),
                "0 manifests",
            ),
            (json!([]), "cannot be read"),
            (json!({"layers": "x"}), "cannot be read"),
        ] {
            let error = read(&manifest).expect_err("refused");
            assert!(error.contains(cause), "{manifest}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(target(&bytes).is_err());
        }
    }
}
