//! From files to an OCI archive: one layer, a configuration, a manifest, an index (OCI image layout
//! 1.0.0, packed as tar).

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::binary::libraries;
use crate::tar::{self, Entry};

/// An image to be.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Its full name, for example `docker.io/penstock/penstock-proxy:dev`.
    pub name: String,
    /// What is in it; the folders above are made.
    pub files: Vec<File>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, which a pod's `args` replace.
    pub cmd: Vec<String>,
    /// User and group as `65532:65532`; empty for root.
    pub user: String,
    /// Environment as `NAME=value`.
    pub env: Vec<String>,
}

impl Image {
    /// An image of one binary, which lies in its root under the name that is given, with the libraries that
    /// it is linked to where it looks for them.
    ///
    /// # Errors
    /// The binary or a library cannot be read.
    pub fn of(image: &str, binary: &Path, name: &str) -> Result<Self> {
        let mut files = vec![File::program(name, binary)?];
        for library in libraries(binary)? {
            let path = library.to_string_lossy().trim_start_matches('/').to_owned();
            files.push(File::program(&path, &library)?);
        }
        Ok(Self {
            name: image.to_owned(),
            files,
            entrypoint: vec![format!("/{name}")],
            ..Self::default()
        })
    }
}

/// A file of an image.
#[derive(Debug, Clone)]
pub struct File {
    /// From the root, without the first `/`.
    pub path: String,
    /// Permissions, for example `0o755`.
    pub mode: u32,
    /// What it says.
    pub content: Vec<u8>,
}

impl File {
    fn program(path: &str, from: &Path) -> Result<Self> {
        let content = std::fs::read(from);
        let content = content.with_context(|| format!("cannot read {}", from.display()))?;
        Ok(Self { path: path.to_owned(), mode: 0o755, content })
    }
}

/// Writes images to one OCI archive, which `ctr images import`, `podman load` and `skopeo` read.
///
/// # Errors
/// The file cannot be written; a path does not fit in a tar header.
pub fn write(images: &[Image], to: &Path) -> Result<()> {
    let mut archive = Archive::default();
    let mut manifests = Vec::new();
    for image in images {
        let layer_bytes = layer(&image.files)?;
        let diff_id = digest(&layer_bytes);
        let layer = archive.blob("application/vnd.oci.image.layer.v1.tar", layer_bytes)?;
        let config =
            archive.json("application/vnd.oci.image.config.v1+json", &config(image, &diff_id))?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": [layer],
        });
        let mut manifest = archive.json("application/vnd.oci.image.manifest.v1+json", &manifest)?;
        manifest["annotations"] = json!({
            "io.containerd.image.name": image.name,
            "org.opencontainers.image.ref.name": image.name,
        });
        manifests.push(manifest);
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    archive.file("index.json", index.to_string().as_bytes())?;
    archive.file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar::finish(&mut archive.tar);
    std::fs::write(to, archive.tar).with_context(|| format!("cannot write {}", to.display()))
}

#[derive(Default)]
struct Archive {
    tar: Vec<u8>,
    written: BTreeSet<String>,
}

impl Archive {
    fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        tar::append(&mut self.tar, path, 0o644, Entry::File(content))
    }

    /// Writes a blob once and returns its descriptor.
    fn blob(&mut self, media_type: &str, content: Vec<u8>) -> Result<Value> {
        let digest = digest(&content);
        if self.written.insert(digest.clone()) {
            self.file(&format!("blobs/{}", digest.replace(':', "/")), &content)?;
        }
        Ok(json!({ "mediaType": media_type, "digest": digest, "size": content.len() }))
    }

    fn json(&mut self, media_type: &str, content: &Value) -> Result<Value> {
        self.blob(media_type, content.to_string().into_bytes())
    }
}

fn config(image: &Image, diff_id: &str) -> Value {
    json!({
        "architecture": architecture(),
        "os": "linux",
        "config": {
            "User": image.user,
            "Env": image.env,
            "Entrypoint": image.entrypoint,
            "Cmd": image.cmd,
            "WorkingDir": "/",
        },
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    })
}

/// The machine's architecture as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn layer(files: &[File]) -> Result<Vec<u8>> {
    let mut files: Vec<&File> = files.iter().collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let folders: BTreeSet<&str> = files
        .iter()
        .flat_map(|file| file.path.match_indices('/').map(|(at, _)| &file.path[..=at]))
        .collect();
    let mut layer = Vec::new();
    for folder in folders {
        tar::append(&mut layer, folder, 0o755, Entry::Folder)?;
    }
    for file in files {
        tar::append(&mut layer, &file.path, file.mode, Entry::File(&file.content))?;
    }
    tar::finish(&mut layer);
    Ok(layer)
}

fn digest(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;

    fn image(name: &str, path: &str) -> Image {
        Image {
            name: name.to_owned(),
            files: vec![File { path: path.to_owned(), mode: 0o755, content: b"program".to_vec() }],
            entrypoint: vec![format!("/{path}")],
            user: "65532:65532".to_owned(),
            ..Image::default()
        }
    }

    /// The files of a tar file by the system's own tar.
    fn unpack(tar: &Path) -> (tempfile::TempDir, BTreeMap<String, Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        let run = Command::new("tar").arg("-xvf").arg(tar).arg("-C").arg(folder.path()).output();
        let run = run.unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        let listed = String::from_utf8(run.stdout).unwrap();
        let files = listed.lines().filter(|line| !line.ends_with('/'));
        let files = files
            .map(|path| (path.to_owned(), std::fs::read(folder.path().join(path)).unwrap()))
            .collect();
        (folder, files)
    }

    fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
        let digest_said = descriptor["digest"].as_str().unwrap();
        let content = &files[&format!("blobs/{}", digest_said.replace(':', "/"))];
        assert_eq!(digest(content), digest_said);
        assert_eq!(descriptor["size"], content.len());
        content
    }

    #[test]
    fn an_archive_leads_from_its_index_to_the_file_of_the_image() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("images.tar");
        write(&[image("docker.io/penstock/a:1", "usr/bin/a")], &path).unwrap();

        let (_folder, files) = unpack(&path);
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest = &index["manifests"][0];
        assert_eq!(manifest["annotations"]["io.containerd.image.name"], "docker.io/penstock/a:1");
        let manifest: Value = serde_json::from_slice(blob(&files, manifest)).unwrap();
        let config: Value = serde_json::from_slice(blob(&files, &manifest["config"])).unwrap();
        assert_eq!(config["config"]["Entrypoint"][0], "/usr/bin/a");
        assert_eq!(config["config"]["User"], "65532:65532");
        let layer = blob(&files, &manifest["layers"][0]);
        assert_eq!(config["rootfs"]["diff_ids"][0], digest(layer));

        let layer_file = folder.path().join("layer.tar");
        std::fs::write(&layer_file, layer).unwrap();
        let (_folder, files) = unpack(&layer_file);
        assert_eq!(files["usr/bin/a"], b"program");
    }

    #[test]
    fn the_same_files_give_the_same_bytes_and_shared_blobs_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two, both] = ["one", "two", "both"].map(|name| folder.path().join(name));
        write(&[image("a:1", "a")], &one).unwrap();
        write(&[image("a:1", "a")], &two).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), std::fs::read(&two).unwrap());

        write(&[image("a:1", "a"), image("b:1", "a")], &both).unwrap();
        let (_folder, files) = unpack(&both);
        let blobs = files.keys().filter(|path| path.starts_with("blobs/")).count();
        assert_eq!(blobs, 3, "layer, configuration and manifest are the same in both");
    }
}
