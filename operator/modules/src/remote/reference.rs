//! Names of OCI artifacts: `registry/repository[:tag][@sha256:digest]`.

/// Which artifact, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Host and, after a colon, port.
    pub(crate) registry: String,
    /// Path of the repository.
    pub(crate) repository: String,
    /// May change its meaning.
    pub(crate) tag: Option<String>,
    /// `sha256:` and 64 lower-case hexadecimal digits.
    pub(crate) digest: Option<String>,
}

impl Reference {
    /// Reads a name. The grammar of repositories and tags is that of the OCI distribution
    /// specification, 1.1, "Pulling manifests".
    ///
    /// # Errors
    /// What is wrong with it, for its author.
    pub(crate) fn parse(image: &str) -> Result<Self, &'static str> {
        let (name, digest) = match image.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (image, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err("its digest is not sha256: and 64 lower-case hexadecimal digits");
        }
        let (registry, path) = name.split_once('/').ok_or("it names no registry")?;
        if !is_registry(registry) {
            return Err("its registry is not a host with an optional port");
        }
        let (repository, tag) = match path.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !is_repository(repository) {
            return Err(
                "its repository has other characters than a-z, 0-9 and separators in between",
            );
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err("its tag is not 1 to 128 letters, digits, dots, dashes and underscores");
        }
        if tag.is_none() && digest.is_none() {
            return Err("it has neither a tag nor a digest");
        }
        Ok(Self {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }

    /// What to ask for: the digest where there is one, since only it is sure.
    pub(crate) fn wanted(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or_default()
    }

    /// Host and port of the API. The one of Docker Hub has another name than its images say.
    pub(crate) fn api(&self) -> &str {
        match self.registry.as_str() {
            "docker.io" | "index.docker.io" => "registry-1.docker.io",
            other => other,
        }
    }
}

/// `sha256:` and 64 lower-case hexadecimal digits.
pub(crate) fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (registry, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    host.len() <= 253 && host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_repository(repository: &str) -> bool {
    repository.len() <= 255 && repository.split('/').all(is_component)
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(component: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = [component.chars().next(), component.chars().next_back()];
    let separators = component.split(is_word).filter(|separator| !separator.is_empty());
    ends.into_iter().all(|end| end.is_some_and(is_word))
        && separators
            .into_iter()
            .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(tag: &str) -> bool {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    (1..=128).contains(&tag.len()) && !tag.starts_with(['.', '-']) && tag.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    #[test]
    fn a_name_has_a_registry_a_repository_and_a_tag_or_a_digest() {
        let digest = format!("sha256:{HEX}");
        for (image, registry, repository, tag, has_digest) in [
            ("r.example/a:v1".to_owned(), "r.example", "a", Some("v1"), false),
            (
                format!("localhost:5000/a/b-c__d.e@{digest}"),
                "localhost:5000",
                "a/b-c__d.e",
                None,
                true,
            ),
            (format!("10.0.0.1/a:v_1.0-x@{digest}"), "10.0.0.1", "a", Some("v_1.0-x"), true),
        ] {
            let read = Reference::parse(&image).expect("a name");
            assert_eq!((read.registry.as_str(), read.repository.as_str()), (registry, repository));
            assert_eq!(read.tag.as_deref(), tag);
            assert_eq!(read.digest.as_deref(), has_digest.then_some(digest.as_str()));
            assert_eq!(read.wanted(), if has_digest { &digest } else { tag.unwrap_or_default() });
        }
        let hub = Reference::parse("docker.io/library/a:1").expect("a name");
        assert_eq!(hub.api(), "registry-1.docker.io");
    }

    #[test]
    fn what_is_no_name_says_why() {
        let upper = HEX.to_uppercase();
        for (image, cause) in [
            ("a:v1", "no registry"),
            ("r.example/a", "neither"),
            ("r.example/A:v1", "repository"),
            ("r.example/a..b:v1", "repository"),
            ("r.example/a//b:v1", "repository"),
            ("r.example/-a:v1", "repository"),
            ("r.example/a/../b:v1", "repository"),
            ("r.example/a:", "tag"),
            ("r.example/a:.x", "tag"),
            ("r.example/a:x/y", "tag"),
            ("r.example:0/a:x", "registry"),
            ("r.example:+80/a:x", "registry"),
            ("r.example:99999/a:x", "registry"),
            ("user@r.example/a:x", "digest"),
            ("/a:x", "registry"),
            ("r.example/a@sha256:abc", "digest"),
            (&format!("r.example/a@sha256:{upper}"), "digest"),
            (&format!("r.example/a@sha512:{HEX}"), "digest"),
        ] {
            let error = Reference::parse(image).expect_err(image);
            assert!(error.contains(cause), "{image}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_can_stand_in_a_path_and_is_written_again(image in "[a-z0-9.:/@_-]{0,40}") {
            if let Ok(read) = Reference::parse(&image) {
                let tag = read.tag.as_deref().map(|tag| format!(":{tag}")).unwrap_or_default();
                let digest = read.digest.as_deref().map(|d| format!("@{d}")).unwrap_or_default();
                prop_assert_eq!(format!("{}/{}{tag}{digest}", read.registry, read.repository), image);
                let path = format!("/v2/{}/manifests/{}", read.repository, read.wanted());
                prop_assert!(path.parse::<http::Uri>().is_ok());
                prop_assert!(!path.contains("//") && !path.contains(".."));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(image in ".*") {
            let _ = Reference::parse(&image);
        }
    }
}
