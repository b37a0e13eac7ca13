//! What a pool needs after a restart, on disk.
//!
//! A file of JSON, which an on-call engineer can read; replaced as a whole, and on the disk before
//! anybody is told what follows from it. It lies in `/var/lib`, so that addresses that were promised
//! outlive the machine's reboot.

use penstock_config::address::{
    Epoch, Held, Interface, InterfaceId, NodeAddresses, Proposal, Unit, Verdict,
};
use penstock_pool::{Granted, Kept, Owner};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// Form of the file. Another one is set aside, as what cannot be read is.
const FORM: u32 = 1;

/// The file.
#[derive(Clone, Debug)]
pub struct StateFile {
    path: PathBuf,
}

/// A file that could not be read. It lies beside its place now.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} cannot be read: {cause}; it lies at {aside} now, and what pods have is taken from their devices"
)]
pub struct Unreadable {
    path: PathBuf,
    cause: String,
    aside: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    form: u32,
    epoch: (u32, u32),
    interfaces: Vec<InterfaceEntry>,
    proposals: Vec<(String, u32, u32)>,
    pods: Vec<PodEntry>,
    verdicts: Vec<VerdictEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InterfaceEntry {
    id: String,
    mac: String,
    card: u8,
    index: u8,
    primary: Ipv4Addr,
    subnet: String,
    gateway: Ipv4Addr,
    units: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PodEntry {
    container: String,
    device: String,
    address: Ipv4Addr,
    of: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VerdictEntry {
    of: String,
    epoch: (u32, u32),
    fenced: bool,
}

impl StateFile {
    /// At a path; its folder is made.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(Self { path: path.to_owned() })
    }

    /// What was kept; nothing where there is no file.
    ///
    /// # Errors
    /// It is there and cannot be read: it is set aside with its content.
    pub fn load(&self) -> Result<Kept, Unreadable> {
        let read = fs::read(&self.path);
        let bytes = match read {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
            Err(error) => return Err(self.set_aside(error.to_string())),
        };
        let content = serde_json::from_slice::<Content>(&bytes).map_err(|error| error.to_string());
        content.and_then(kept).map_err(|cause| self.set_aside(cause))
    }

    fn set_aside(&self, cause: String) -> Unreadable {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let aside = self.path.with_extension(format!("unreadable-{now}"));
        // Where even that fails, the next write replaces it: there is nothing to lose that could be read.
        let _ = fs::rename(&self.path, &aside);
        Unreadable { path: self.path.clone(), cause, aside }
    }

    /// Writes; when it returns, a power failure takes nothing back.
    ///
    /// # Errors
    /// The disk is full or broken: what was there before stays.
    pub fn save(&self, kept: &Kept) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&content(kept))?)?;
        file.sync_data()?;
        fs::rename(&new, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_data(),
            None => Ok(()),
        }
    }
}

fn content(kept: &Kept) -> Content {
    let epoch = |epoch: Epoch| (epoch.term, epoch.count);
    let interface = |interface: &Interface| InterfaceEntry {
        id: interface.id.to_string(),
        mac: interface.mac.clone(),
        card: interface.card,
        index: interface.index,
        primary: interface.primary,
        subnet: interface.subnet.clone(),
        gateway: interface.gateway,
        units: interface.units.iter().map(Unit::to_string).collect(),
    };
    let proposal = |(held, proposal): (&Held, &Proposal)| {
        (held.to_string(), proposal.epoch.term, proposal.epoch.count)
    };
    let pod = |(owner, granted): (&Owner, &Granted)| PodEntry {
        container: owner.container.clone(),
        device: owner.device.clone(),
        address: granted.address,
        of: granted.of.to_string(),
    };
    let verdict = |(held, (of, verdict)): (&Held, &(Epoch, Verdict))| VerdictEntry {
        of: held.to_string(),
        epoch: epoch(*of),
        fenced: *verdict == Verdict::Fenced,
    };
    Content {
        form: FORM,
        epoch: epoch(kept.told.epoch),
        interfaces: kept.told.interfaces.values().map(interface).collect(),
        proposals: kept.told.proposals.iter().map(proposal).collect(),
        pods: kept.pods.iter().map(pod).collect(),
        verdicts: kept.verdicts.iter().map(verdict).collect(),
    }
}

fn kept(content: Content) -> Result<Kept, String> {
    if content.form != FORM {
        return Err(format!("its form is {}, this version reads {FORM}", content.form));
    }
    let epoch = |(term, count)| Epoch { term, count };
    let held = |text: &str| text.parse::<Held>().map_err(|error| error.to_string());
    let interface = |entry: InterfaceEntry| {
        let units = entry.units.iter().map(|unit| unit.parse::<Unit>().map_err(|e| e.to_string()));
        let id = InterfaceId(entry.id);
        let interface = Interface {
            id: id.clone(),
            mac: entry.mac,
            card: entry.card,
            index: entry.index,
            primary: entry.primary,
            subnet: entry.subnet,
            gateway: entry.gateway,
            units: units.collect::<Result<_, _>>()?,
        };
        Ok::<_, String>((id, interface))
    };
    let proposal = |(of, term, count): (String, u32, u32)| {
        Ok::<_, String>((held(&of)?, Proposal { epoch: Epoch { term, count } }))
    };
    let pod = |entry: PodEntry| {
        let owner = Owner { container: entry.container, device: entry.device };
        Ok::<_, String>((owner, Granted { address: entry.address, of: held(&entry.of)? }))
    };
    let verdict = |entry: VerdictEntry| {
        let verdict = if entry.fenced { Verdict::Fenced } else { Verdict::InUse };
        Ok::<_, String>((held(&entry.of)?, (epoch(entry.epoch), verdict)))
    };
    Ok(Kept {
        told: NodeAddresses {
            epoch: epoch(content.epoch),
            interfaces: content.interfaces.into_iter().map(interface).collect::<Result<_, _>>()?,
            proposals: content.proposals.into_iter().map(proposal).collect::<Result<_, _>>()?,
        },
        pods: content.pods.into_iter().map(pod).collect::<Result<_, _>>()?,
        verdicts: content.verdicts.into_iter().map(verdict).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_of_everything() -> Kept {
        let held: Held = "10.0.0.16/28 of eni-1".parse().unwrap();
        let interface = Interface {
            id: "eni-1".into(),
            mac: "02:00:00:00:00:01".into(),
            card: 0,
            index: 1,
            primary: Ipv4Addr::new(10, 0, 0, 5),
            subnet: "subnet-1".into(),
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            units: [held.unit.unwrap()].into(),
        };
        let epoch = Epoch { term: 3, count: 7 };
        let owner = Owner { container: "0123".into(), device: "eth0".into() };
        let granted = Granted { address: Ipv4Addr::new(10, 0, 0, 17), of: held.clone() };
        Kept {
            told: NodeAddresses {
                epoch,
                interfaces: [(interface.id.clone(), interface)].into(),
                proposals: [(held.clone(), Proposal { epoch })].into(),
            },
            pods: [(owner, granted)].into(),
            verdicts: [(held, (epoch, Verdict::Fenced))].into(),
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::open(&folder.path().join("a/addresses.json")).unwrap();
        assert_eq!(file.load().unwrap(), Kept::default());
        file.save(&kept_of_everything()).unwrap();
        assert_eq!(file.load().unwrap(), kept_of_everything());
    }

    #[test]
    fn what_cannot_be_read_is_set_aside_with_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("addresses.json");
        let file = StateFile::open(&path).unwrap();
        for broken in ["", "{", r#"{"form":1}"#, "\u{0}"] {
            fs::write(&path, broken).unwrap();
            let error = file.load().unwrap_err();
            assert_eq!(fs::read_to_string(&error.aside).unwrap(), broken, "{error}");
            assert!(!path.exists());
            fs::remove_file(error.aside).unwrap();
        }
        file.save(&kept_of_everything()).unwrap();
        let later = fs::read_to_string(&path).unwrap().replace("\"form\":1", "\"form\":2");
        fs::write(&path, later).unwrap();
        assert!(file.load().unwrap_err().to_string().contains("its form is 2"));
    }
}
