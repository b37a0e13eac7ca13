//! Reads files and folders.
//!
//! A folder stands for the files in it and in the folders below it that end in `.yaml`, `.yml` or
//! `.json`; names that begin with a dot are left out (so a mounted ConfigMap, whose files are links
//! into `..data`, is read once). Links are followed, each target once.

use super::diagnostic::{Cause, Diagnostic};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes that one file may have.
pub(crate) const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Files that are read at most.
const MAX_FILES: usize = 20_000;
/// How deep folders may nest.
const MAX_FOLDER_DEPTH: usize = 32;

/// A file as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SourceFile {
    /// Where it was found, as a person would name it.
    pub(crate) path: PathBuf,
    /// Its content.
    pub(crate) content: Arc<[u8]>,
}

/// What was read at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// The files, sorted by path in each argument.
    pub(crate) files: Vec<SourceFile>,
    /// What could not be read.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Reads every manifest at the given paths.
pub(crate) fn read(paths: &[PathBuf]) -> Snapshot {
    let mut reader = Reader::default();
    for path in paths {
        reader.path(path, 0, true);
    }
    reader.snapshot
}

#[derive(Default)]
struct Reader {
    snapshot: Snapshot,
    seen: BTreeSet<PathBuf>,
    full: bool,
}

impl Reader {
    fn path(&mut self, path: &Path, depth: usize, named: bool) {
        let (metadata, target) =
            match fs::metadata(path).and_then(|m| Ok((m, path.canonicalize()?))) {
                Ok(found) => found,
                Err(error) => return self.unreadable(path, &error),
            };
        if !metadata.is_dir() && !named && !is_manifest(path) {
            return;
        }
        if !self.seen.insert(target) {
            return;
        }
        if metadata.is_dir() {
            self.folder(path, depth);
        } else {
            self.file(path);
        }
    }

    fn folder(&mut self, path: &Path, depth: usize) {
        if depth == MAX_FOLDER_DEPTH {
            let message = format!("the folders nest deeper than {MAX_FOLDER_DEPTH} levels");
            return self.report(Cause::TooLarge, path, message, "name the folders with -f");
        }
        let entries = fs::read_dir(path)
            .and_then(|entries| entries.map(|e| Ok(e?.path())).collect::<io::Result<Vec<_>>>());
        match entries {
            Ok(mut entries) => {
                entries.sort();
                for entry in entries.iter().filter(|e| !is_hidden(e)) {
                    self.path(entry, depth + 1, false);
                }
            }
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn file(&mut self, path: &Path) {
        if self.snapshot.files.len() == MAX_FILES {
            if !std::mem::replace(&mut self.full, true) {
                let message = format!("there are more than {MAX_FILES} files");
                self.report(Cause::TooLarge, path, message, "put many objects into one file");
            }
            return;
        }
        match penstock_modules::read_file(path, MAX_FILE_BYTES) {
            Ok(content) => self
                .snapshot
                .files
                .push(SourceFile { path: path.to_path_buf(), content: content.into() }),
            Err(error) => self.unreadable(path, &error),
        }
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        let (cause, remedy) = match error.kind() {
            io::ErrorKind::NotFound if path.is_symlink() => {
                (Cause::Unreadable, "the link leads nowhere: mend or remove it")
            }
            io::ErrorKind::NotFound => (Cause::Unreadable, "check the path given with -f"),
            io::ErrorKind::PermissionDenied => {
                (Cause::Unreadable, "let the user who runs penstock read it (chmod, chown)")
            }
            io::ErrorKind::FileTooLarge => (Cause::TooLarge, "split it into several files"),
            io::ErrorKind::InvalidInput => (Cause::Unreadable, "name files and folders only"),
            _ => (Cause::Unreadable, ""),
        };
        self.report(cause, path, format!("cannot be read: {error}"), remedy);
    }

    fn report(&mut self, cause: Cause, path: &Path, message: String, remedy: &str) {
        let file = path.display().to_string();
        self.snapshot.diagnostics.push(Diagnostic::error(cause, &file, message).remedy(remedy));
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json")
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn names(snapshot: &Snapshot, root: &Path) -> Vec<String> {
        let name = |f: &SourceFile| f.path.strip_prefix(root).expect("below").display().to_string();
        snapshot.files.iter().map(name).collect()
    }

    #[test]
    fn a_folder_is_read_in_order_without_hidden_and_foreign_files() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        fs::create_dir(root.join("sub")).expect("a folder");
        for name in ["b.yaml", "a.json", "c.yml", "notes.md", ".hidden.yaml", "sub/d.yaml"] {
            fs::write(root.join(name), name).expect("a file");
        }
        let snapshot = read(&[root.to_path_buf()]);
        assert_eq!(names(&snapshot, root), ["a.json", "b.yaml", "c.yml", "sub/d.yaml"]);
        assert_eq!(snapshot.diagnostics, []);
    }

    #[test]
    fn a_file_that_is_named_is_read_whatever_its_name_and_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("objects.txt");
        fs::write(&file, "x").expect("a file");
        assert_eq!(read(&[file.clone(), file.clone()]).files.len(), 1);
    }

    #[test]
    fn links_are_followed_once_and_circles_end() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        fs::create_dir(root.join("..2026")).expect("a folder");
        fs::write(root.join("..2026/a.yaml"), "x").expect("a file");
        symlink("..2026", root.join("..data")).expect("a link");
        symlink("..data/a.yaml", root.join("a.yaml")).expect("a link");
        symlink(".", root.join("loop")).expect("a link");
        symlink("nowhere", root.join("broken.yaml")).expect("a link");
        let snapshot = read(&[root.to_path_buf()]);
        assert_eq!(names(&snapshot, root), ["a.yaml"]);
        let [broken] = &snapshot.diagnostics[..] else { panic!("{:?}", snapshot.diagnostics) };
        assert!(broken.to_string().contains("the link leads nowhere"), "{broken}");
    }

    #[test]
    fn what_cannot_be_read_is_reported_and_the_rest_is_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path();
        fs::write(root.join("a.yaml"), "x").expect("a file");
        fs::File::create(root.join("big.yaml"))
            .and_then(|f| f.set_len(MAX_FILE_BYTES + 1))
            .expect("a file");
        std::os::unix::net::UnixListener::bind(root.join("socket.yaml")).expect("a socket");
        let snapshot = read(&[root.join("missing"), root.to_path_buf()]);
        assert_eq!(names(&snapshot, root), ["a.yaml"]);
        let causes: Vec<Cause> = snapshot.diagnostics.iter().map(|d| d.cause).collect();
        assert_eq!(causes, [Cause::Unreadable, Cause::TooLarge, Cause::Unreadable]);
        assert!(snapshot.diagnostics.iter().all(|d| !d.remedy.is_empty()));
    }
}
