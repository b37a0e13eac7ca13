//! Modules that the operator compiled.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use penstock_filter_host::{Host, signature};
use penstock_stream::LoadModules;
use std::{fs, path::PathBuf};

/// Loads what the operator signed, and nothing else (the proxy has no compiler).
#[derive(Debug)]
pub struct SignedModules {
    host: Host,
    /// Read for each module: the key may change.
    key: PathBuf,
}

impl SignedModules {
    /// For a host; the file holds the public key in Base64.
    pub fn new(host: Host, key: PathBuf) -> Self {
        Self { host, key }
    }

    fn key(&self) -> Result<Vec<u8>, String> {
        let text = fs::read_to_string(&self.key)
            .map_err(|error| format!("cannot read {}: {error}", self.key.display()))?;
        STANDARD
            .decode(text.trim())
            .map_err(|_| format!("{} holds no key in Base64", self.key.display()))
    }
}

impl LoadModules for SignedModules {
    fn engine(&self) -> String {
        signature::ENGINE.into()
    }

    fn target(&self) -> String {
        signature::TARGET.into()
    }

    fn has(&self, digest: &str) -> bool {
        self.host.module(digest).is_some()
    }

    fn load(&self, digest: &str, module: Bytes) -> Result<(), String> {
        let key = self.key()?;
        self.host.load_signed(digest, &module, &key).map_err(|error| error.to_string())
    }
}
