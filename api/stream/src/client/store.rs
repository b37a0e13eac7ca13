//! The last confirmed configuration, on disk.

use crate::wire::{ArtifactRequest, MAX_ARTIFACT_BYTES, MAX_UPDATE_BYTES, Upsert};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use bytes::Bytes;
use parking_lot::Mutex;
use penstock_config::{ResourceKind, State};
use prost::Message;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// What the file begins with, and what is sealed with the content: its form and version.
const MAGIC: &[u8; 16] = b"penstock-state-1";

/// Bytes of the key.
const KEY: usize = 32;

/// Keeps a configuration in a directory, encrypted with a key that lives in memory only (a file on
/// tmpfs), and compiled modules beside it. Who has the disk has no secret; after a reboot the key is
/// gone and the operator is asked.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    key: LessSafeKey,
    /// Modules that the configuration saved last does not use.
    unused: Mutex<BTreeSet<PathBuf>>,
}

/// The store cannot be used. A node does without: it asks the operator.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refuses.
    #[error("cannot {doing} {}: {error}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The key is not as it was left.
    #[error("the key {} {problem}: remove it, and the stored configuration is given up", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The configuration is not what was written, or was written with another key (before a reboot).
    #[error("the configuration in {} cannot be used: {problem}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// The content, sealed.
#[derive(Clone, PartialEq, prost::Message)]
struct Content {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<Upsert>,
}

impl Store {
    /// Opens a store, and makes the directory and the key where they are missing.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Key`].
    pub fn open(directory: &Path, key_file: &Path) -> Result<Self, StoreError> {
        let modules = directory.join("modules");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&modules);
        made.map_err(failed("make", &modules))?;
        let key = match read_key(key_file)? {
            Some(key) => key,
            None => make_key(key_file)?,
        };
        let key = UnboundKey::new(&AES_256_GCM, &key)
            .map_err(|_| StoreError::Key { path: key_file.into(), problem: "is no AES-256 key" })?;
        let (directory, key) = (directory.into(), LessSafeKey::new(key));
        Ok(Self { directory, key, unused: Mutex::default() })
    }

    /// The configuration that was saved last; `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Corrupt`].
    pub fn load(&self) -> Result<Option<State>, StoreError> {
        let path = self.state_file();
        let Some(mut bytes) = read(&path, MAX_UPDATE_BYTES as u64)? else {
            return Ok(None);
        };
        let corrupt =
            |problem: &str| StoreError::Corrupt { path: path.clone(), problem: problem.into() };
        let Some((magic, rest)) = bytes.split_at_mut_checked(MAGIC.len()) else {
            return Err(corrupt("it is too short"));
        };
        if magic != MAGIC {
            return Err(corrupt("it is no stored configuration of this version"));
        }
        let Some((nonce, sealed)) = rest.split_at_mut_checked(NONCE_LEN) else {
            return Err(corrupt("it is too short"));
        };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| corrupt("its nonce"))?;
        let opened = self.key.open_in_place(nonce, Aad::from(MAGIC), sealed);
        let opened = opened.map_err(|_| {
            corrupt("it was changed, or written with another key (before a reboot of the node)")
        })?;
        let content = Content::decode(&*opened).map_err(|error| corrupt(&error.to_string()))?;
        Ok(Some(content.resources.into_iter().filter_map(content_of).collect()))
    }

    /// Saves a configuration in place of the one before: wholly or not at all, also when the power
    /// fails. Compiled modules that neither of the two uses are removed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn save(&self, state: &State) -> Result<(), StoreError> {
        let path = self.state_file();
        let content = Content { resources: state.iter().map(Upsert::from).collect() };
        let mut nonce = [0; NONCE_LEN];
        random(&mut nonce, &path)?;
        let mut sealed = content.encode_to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(unique, Aad::from(MAGIC), &mut sealed)
            .map_err(|_| failed("encrypt", &path)(io::Error::other("too large")))?;
        self.write(&path, &[MAGIC, &nonce, &sealed])?;
        self.retain(state)
    }

    /// A compiled module that was kept.
    pub fn module(&self, request: &ArtifactRequest) -> Option<Bytes> {
        let read = read(&self.module_file(request), MAX_ARTIFACT_BYTES);
        read.unwrap_or_else(|error| {
            tracing::warn!("{error}");
            None
        })
        .map(Bytes::from)
    }

    /// Keeps a compiled module. It is signed and no secret: whoever loads it checks it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn keep_module(&self, request: &ArtifactRequest, module: &[u8]) -> Result<(), StoreError> {
        self.write(&self.module_file(request), &[module])
    }

    /// Removes modules that neither this configuration uses nor the one saved before did: one that was
    /// just kept belongs to a configuration that is about to be applied, and saved next.
    fn retain(&self, state: &State) -> Result<(), StoreError> {
        let used: BTreeSet<_> = state.iter().filter_map(|r| module_of(&r.content)).collect();
        let directory = self.directory.join("modules");
        let mut unused = BTreeSet::new();
        for entry in fs::read_dir(&directory).map_err(failed("list", &directory))? {
            let path = entry.map_err(failed("list", &directory))?.path();
            let digest = path.file_stem().and_then(|stem| stem.to_str());
            if !digest.is_some_and(|digest| used.contains(digest)) {
                unused.insert(path);
            }
        }
        let mut before = self.unused.lock();
        for path in unused.intersection(&before) {
            fs::remove_file(path).map_err(failed("remove", path))?;
        }
        *before = unused;
        Ok(())
    }

    /// Writes beside, syncs, renames, syncs the directory.
    fn write(&self, path: &Path, parts: &[&[u8]]) -> Result<(), StoreError> {
        let beside = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let write = || {
            let mut file = options.open(&beside)?;
            parts.iter().try_for_each(|part| file.write_all(part))?;
            file.sync_all()?;
            fs::rename(&beside, path)?;
            path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
        };
        write().map_err(failed("write", path))
    }

    fn state_file(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// One for each module, engine and target: a new engine finds none of the old one's.
    fn module_file(&self, request: &ArtifactRequest) -> PathBuf {
        let digest = request.digest.trim_start_matches("sha256:");
        let fits = Sha256::digest(format!("{}\n{}", request.engine, request.target));
        let fits: String = fits[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self.directory.join("modules").join(format!("{digest}.{fits}"))
    }
}

/// The version is made anew from the content: a node that was upgraded since understands more of it
/// than the one that stored it, and must not say that it has what it could not read.
fn content_of(upsert: Upsert) -> Option<ResourceKind> {
    upsert.resource?.kind
}

fn module_of(content: &ResourceKind) -> Option<&str> {
    match content {
        ResourceKind::Filter(filter) => filter.module.strip_prefix("sha256:"),
        _ => None,
    }
}

fn read_key(path: &Path) -> Result<Option<[u8; KEY]>, StoreError> {
    let wrong = |problem| StoreError::Key { path: path.into(), problem };
    let Some(bytes) = read(path, KEY as u64 + 1)? else {
        return Ok(None);
    };
    let mode = fs::metadata(path).map_err(failed("read", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(wrong("can be read by others"));
    }
    bytes.try_into().map(Some).map_err(|_| wrong("has not 32 bytes"))
}

fn make_key(path: &Path) -> Result<[u8; KEY], StoreError> {
    let mut key = [0; KEY];
    random(&mut key, path)?;
    let write = || {
        if let Some(directory) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(&key)
    };
    write().map_err(failed("make", path))?;
    Ok(key)
}

fn random(bytes: &mut [u8], path: &Path) -> Result<(), StoreError> {
    rand::fill(bytes).map_err(|_| failed("encrypt", path)(io::Error::other("no random numbers")))
}

/// A file of at most `limit` bytes; `None` where there is none.
fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() as u64 > limit {
        let problem = format!("it has more than {limit} bytes");
        return Err(StoreError::Corrupt { path: path.into(), problem });
    }
    Ok(Some(bytes))
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |error| StoreError::Io { doing, path, error }
}
