//! Where credentials are looked for, in words.

/// Variables of IRSA (Amazon EKS User Guide, "IAM roles for service accounts").
const IRSA: [&str; 2] = ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"];
/// Variable of EKS Pod Identity, and of containers of ECS.
const POD_IDENTITY: [&str; 1] = ["AWS_CONTAINER_CREDENTIALS_FULL_URI"];
/// Variables of keys.
const KEYS: [&str; 2] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
/// Switches off what an instance says of itself.
const NO_METADATA: &str = "AWS_EC2_METADATA_DISABLED";

/// Where the SDK looked, and what there was. `variable`: the environment; `is_there`: whether a file is.
pub(crate) fn looked_for(
    variable: impl Fn(&str) -> Option<String>,
    is_there: impl Fn(&str) -> bool,
) -> String {
    let is_set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
    let from = |what: &str, names: &[&str]| {
        let missing: Vec<&str> = names.iter().copied().filter(|name| !is_set(name)).collect();
        match missing.as_slice() {
            [] => match names.last().and_then(|name| variable(name)) {
                Some(file) if file.starts_with('/') && !is_there(&file) => {
                    format!("{what}: there is no file {file}")
                }
                _ => format!("{what}: set, and refused"),
            },
            missing if missing.len() == names.len() => format!("{what}: not set"),
            missing => format!("{what}: {} is not set", missing.join(", ")),
        }
    };
    let off = variable(NO_METADATA).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let metadata = match off {
        true => format!("instance: not asked ({NO_METADATA})"),
        false => "instance: its metadata service has none, or does not answer within its hop limit"
            .to_owned(),
    };
    [
        from("keys (AWS_ACCESS_KEY_ID)", &KEYS),
        from("IRSA (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE)", &IRSA),
        from("Pod Identity (AWS_CONTAINER_CREDENTIALS_FULL_URI)", &POD_IDENTITY),
        metadata,
    ]
    .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(set: &[(&str, &str)]) -> String {
        let variable = |name: &str| {
            let found = set.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        looked_for(variable, |file| file == "/token")
    }

    #[test]
    fn each_place_is_named_with_what_was_there() {
        assert_eq!(
            with(&[]),
            "keys (AWS_ACCESS_KEY_ID): not set; IRSA (AWS_ROLE_ARN, AWS_WEB_IDENTITY_TOKEN_FILE): not \
             set; Pod Identity (AWS_CONTAINER_CREDENTIALS_FULL_URI): not set; instance: its metadata \
             service has none, or does not answer within its hop limit"
        );
        let half = with(&[("AWS_ROLE_ARN", "arn:x"), (NO_METADATA, "true")]);
        assert!(half.contains("TOKEN_FILE): AWS_WEB_IDENTITY_TOKEN_FILE is not set;"), "{half}");
        assert!(half.ends_with("instance: not asked (AWS_EC2_METADATA_DISABLED)"), "{half}");
        let both = with(&[("AWS_ROLE_ARN", "arn:x"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")]);
        assert!(both.contains("TOKEN_FILE): set, and refused;"), "{both}");
        let none = with(&[("AWS_ROLE_ARN", "arn:x"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/none")]);
        assert!(none.contains("TOKEN_FILE): there is no file /none;"), "{none}");
    }
}
