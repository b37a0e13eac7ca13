//! How what is made for a Gateway is called.

use crate::infrastructure::{GATEWAY_NAME, bare, gateway};

#[test]
fn names_of_services_are_labels_whatever_the_gateway_is_called() {
    let long = "a.".repeat(90) + "z";
    let world = bare(&[&gateway(&long, &[80], "", ""), &gateway("a.b", &[80], "", "")]);
    let services = world.translate().translation.services;
    assert_eq!(services.len(), 3);
    for (name, service) in services {
        assert!(name.name.len() <= 63 && !name.name.contains('.'), "{name}");
        for value in service.metadata.labels.expect("labels").values() {
            assert!(value.len() <= 63, "{value}");
        }
    }
}

#[test]
fn a_name_is_cut_where_it_no_longer_fits_and_no_earlier() {
    let names = ["a".repeat(63), "b".repeat(64), "c".repeat(200)];
    let gateways = names.each_ref().map(|name| gateway(name, &[80], "", ""));
    let world = bare(&gateways.each_ref().map(String::as_str));
    let services = world.translate().translation.services;
    let long = services.into_iter().filter(|(name, _)| !name.name.contains("-gw-"));
    for (name, service) in long {
        assert_eq!(name.name.len(), 63, "as much of it as fits: {name}");
        let label = &service.metadata.labels.expect("labels")[GATEWAY_NAME];
        assert_eq!(label.len(), 63);
        let whole = *label == names[0];
        assert_eq!(whole, label.starts_with('a'), "a label holds 63 characters: {label}");
    }
}
