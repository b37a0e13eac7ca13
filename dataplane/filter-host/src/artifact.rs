//! Compiled modules as bytes: what an operator makes and a proxy loads.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wasmtime::component::Component;

use crate::error::ModuleError;
use crate::host::Host;
use crate::inspect::inspect;
use crate::module::{CompiledModule, Descriptor, ModuleInfo};
use crate::signature::{ENGINE, Subject, TARGET, verify};

/// First bytes of an artifact: name and version of the format.
const MAGIC: &[u8; 8] = b"penstk\x00\x01";

/// What stands before the compiled code, as JSON.
#[derive(Serialize, Deserialize)]
struct Head {
    digest: String,
    descriptor: Descriptor,
    size: usize,
}

impl CompiledModule {
    /// The compiled module as bytes, for [`CompiledModule::from_artifact`] of an engine of the same
    /// version and architecture.
    ///
    /// # Errors
    /// The engine cannot write it.
    pub fn to_artifact(&self) -> Result<Vec<u8>, ModuleError> {
        let error = |error: &dyn std::fmt::Display| ModuleError::Artifact(error.to_string());
        let head = Head {
            digest: self.info.digest.clone(),
            descriptor: self.info.descriptor.clone(),
            size: self.info.size,
        };
        let head = serde_json::to_vec(&head).map_err(|e| error(&e))?;
        let code = self.component.serialize().map_err(|e| error(&e))?;
        let length = u32::try_from(head.len()).map_err(|e| error(&e))?;
        let mut bytes = Vec::with_capacity(12 + head.len() + code.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&code);
        Ok(bytes)
    }

    /// Loads a module that was compiled elsewhere. Kind and imports are read from the component
    /// itself; code for another engine version, architecture or other settings is refused.
    ///
    /// # Safety
    /// The bytes become machine code of this process. They must be what
    /// [`CompiledModule::to_artifact`] returned, unchanged: the caller has verified a signature of
    /// the operator over them, or wrote them itself and let nobody else write since.
    ///
    /// # Errors
    /// Bytes that are no artifact, or one of another engine: compile the module again.
    #[expect(
        unsafe_code,
        reason = "machine code cannot be checked here; that it comes from our own compiler is the \
                  caller's proof"
    )]
    pub unsafe fn from_artifact(host: &Host, bytes: &[u8]) -> Result<Self, ModuleError> {
        let (head, code) = split(bytes)?;
        // SAFETY: the caller vouches that the code was made by `to_artifact` and is unchanged.
        let component = unsafe { Component::deserialize(host.engine(), code) }
            .map_err(|error| ModuleError::Artifact(format!("{error:#}")))?;
        let (kind, grants) = inspect(host.engine(), &component)?;
        let info = ModuleInfo {
            digest: head.digest,
            kind,
            imports: grants.names().map(str::to_owned).collect(),
            descriptor: head.descriptor,
            size: head.size,
        };
        Ok(Self { info: Arc::new(info), component })
    }
}

impl Host {
    /// Loads a module that an operator compiled and signed: what is wanted, for the engine of this
    /// process, unchanged. `key`: the 32 bytes of the operator's Ed25519 public key.
    ///
    /// # Errors
    /// [`ModuleError::Artifact`]: it is not signed for this, or of another engine. Nothing of it is
    /// mapped then.
    pub fn load_signed(&self, digest: &str, signed: &[u8], key: &[u8]) -> Result<(), ModuleError> {
        let subject = Subject { digest, engine: ENGINE, target: TARGET };
        let artifact = verify(signed, subject, key)
            .map_err(|error| ModuleError::Artifact(error.to_string()))?;
        #[expect(unsafe_code, reason = "the signature is the proof that `from_artifact` asks for")]
        // SAFETY: the operator signed these bytes as what `to_artifact` returned for this module.
        let module = unsafe { CompiledModule::from_artifact(self, artifact) }?;
        if module.info.digest != digest {
            let found = &module.info.digest;
            return Err(ModuleError::Artifact(format!("it says that it is {found}")));
        }
        self.load(module);
        Ok(())
    }
}

fn split(bytes: &[u8]) -> Result<(Head, &[u8]), ModuleError> {
    let none = || ModuleError::Artifact("not an artifact of this format".to_owned());
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(none)?;
    let (length, rest) = rest.split_first_chunk::<4>().ok_or_else(none)?;
    let (head, code) =
        rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or_else(none)?;
    Ok((serde_json::from_slice(head).map_err(|_| none())?, code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_artifact_are_refused_before_any_code_is_touched() {
        let long_head = [&MAGIC[..], &u32::MAX.to_le_bytes(), b"{}"].concat();
        for bytes in [&b""[..], b"\0asm", MAGIC, &long_head] {
            assert!(matches!(split(bytes), Err(ModuleError::Artifact(_))), "{bytes:?}");
        }
    }
}
