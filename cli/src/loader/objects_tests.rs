//! Tables of files and what they mean.

use super::*;

const ROUTE: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec: {}
";

fn load_files(files: &[(&str, &[u8])]) -> Loaded {
    let files = files
        .iter()
        .map(|(path, content)| SourceFile { path: path.into(), content: (*content).into() })
        .collect();
    load(&Snapshot { files, diagnostics: Vec::new() })
}

fn load_text(text: &str) -> Loaded {
    load_files(&[("a.yaml", text.as_bytes())])
}

fn ids(loaded: &Loaded) -> Vec<String> {
    loaded.objects.iter().map(|o| o.id.to_string()).collect()
}

fn messages(loaded: &Loaded) -> Vec<String> {
    loaded.diagnostics.iter().map(ToString::to_string).collect()
}

#[test]
fn documents_lists_and_json_give_objects() {
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {{name: s, namespace: shop}}\n  spec: {{ports: [{{port: 80}}]}}\n---\n{ROUTE}"
    );
    let json = br#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}"#;
    let loaded = load_files(&[("a.yaml", list.as_bytes()), ("b.json", json)]);
    assert_eq!(messages(&loaded), [] as [&str; 0]);
    assert_eq!(ids(&loaded), ["Service shop/s", "HTTPRoute default/web", "Namespace shop"]);
}

#[test]
fn what_an_api_server_adds_is_added() {
    let loaded = load_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: text}\n",
    );
    let [
        Located { object: Object::Namespace(namespace), .. },
        Located { object: Object::Secret(secret), .. },
    ] = &loaded.objects[..]
    else {
        panic!("{:?}", messages(&loaded))
    };
    let labels = namespace.metadata.labels.as_ref().expect("labels");
    assert_eq!(labels["kubernetes.io/metadata.name"], "shop");
    assert_eq!(secret.data.as_ref().expect("data")["key"].0, b"text");
    assert_eq!(secret.metadata.namespace.as_deref(), Some("default"));
}

#[test]
fn each_kind_of_bad_input_names_place_field_and_remedy() {
    for (text, expected) in [
        ("a: [1\n", "a.yaml:1:4: unclosed bracket"),
        ("- a\n", "a.yaml:1:1: this is no object; a document has"),
        ("kind: Service\n", "a.yaml:1:1: apiVersion: `apiVersion` is missing"),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {}\nspec: {}\n",
            "a.yaml:3:1: Service: metadata.name: `name` is required",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HttpRoute\nmetadata: {name: x}\n",
            "a.yaml:2:1: kind HttpRoute of gateway.networking.k8s.io/v1 is not served by Penstock; write apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: x}\n",
            "a.yaml:2:1: kind GRPCRoute of gateway.networking.k8s.io/v1 is not served by Penstock; of this group it serves GatewayClass, Gateway, HTTPRoute, ReferenceGrant",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n",
            "a.yaml:2:1: warning: kind Deployment of apps/v1 is not served by Penstock; it is left out",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v7\nkind: Gateway\nmetadata: {name: x}\n",
            "a.yaml:1:1: Gateway is not read in version `gateway.networking.k8s.io/v7`",
        ),
        ("apiVersion: v1\nkind: ServiceList\n", "a.yaml:1:1: items: a list needs its objects"),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web}\nspec:\n  rules:\n  - matches:\n    - path: {value: /, tpye: Exact}\n",
            "a.yaml:7:24: HTTPRoute default/web: spec.rules[0].matches[0].path.tpye: unknown field",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: many}\n",
            "a.yaml:4:8: Service default/s: spec.ports: is a text",
        ),
    ] {
        let loaded = load_text(text);
        let found = messages(&loaded);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{}\nis not\n{expected}", found[0]);
        assert_eq!(ids(&loaded), [] as [&str; 0]);
    }
}

#[test]
fn everything_else_is_loaded_beside_what_is_broken() {
    let text = format!("- a\n---\napiVersion: apps/v1\nkind: Deployment\n---\n{ROUTE}");
    let loaded = load_text(&text);
    assert_eq!(ids(&loaded), ["HTTPRoute default/web"]);
    assert_eq!(loaded.diagnostics.len(), 2);
}

#[test]
fn bytes_that_are_no_utf8_are_refused_with_their_place() {
    let loaded = load_files(&[("a.yaml", b"a: 1\nb: \xc3\xa9\xff\n")]);
    assert_eq!(messages(&loaded), ["a.yaml:2:5: the file is not UTF-8; save it as UTF-8"]);
}

#[test]
fn two_objects_of_one_name_are_refused_and_both_places_named() {
    let loaded = load_files(&[("a.yaml", ROUTE.as_bytes()), ("b.yaml", ROUTE.as_bytes())]);
    assert_eq!(ids(&loaded), [] as [&str; 0]);
    assert_eq!(
        messages(&loaded),
        ["b.yaml:3:12: HTTPRoute default/web: metadata.name: is written twice, first at \
             a.yaml:3:12; keep one of them, or give them different names"]
    );
}

#[test]
fn a_place_inside_an_object_can_be_found_later() {
    let loaded = load_text(ROUTE);
    assert_eq!(loaded.objects[0].source.locate("/spec/rules/0").to_string(), "4:1");
}
