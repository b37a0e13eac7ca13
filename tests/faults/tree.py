"""A copy of the tree to plant faults in, and where it is built.

Both stay in `faults/` beside CARGO_TARGET_DIR, apart from the target folder of the tree: cargo
names what it builds after the place in the workspace, not after the workspace, so that a faulty
crate would pass for the tree's own there.
"""

import contextlib
import fcntl
import os
import pathlib
import shutil

REPO = pathlib.Path(__file__).resolve().parents[2]
COPIED = [".cargo", "Cargo.toml", "Cargo.lock", "api", "charts", "cli", "dataplane", "docs", "ebpf",
          "examples", "filters", "operator", "rustfmt.toml", "tests", "wit", "xtask"]
# Folders that are built in the copy too. What `cargo xtask filters` and `cargo xtask ebpf` made is copied.
BUILT = {"target", "__pycache__"}


@contextlib.contextmanager
def copied():
    """The folder, for one process at a time: `tree` in it is an up-to-date copy, `target` is for
    what is built from it."""
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _sync(cache / "tree")
        yield cache


def _cache() -> pathlib.Path:
    if target := os.environ.get("CARGO_TARGET_DIR"):
        return (REPO / target).resolve().parent / "faults"
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(cache) / "penstock" / "faults"


def _sync(copy: pathlib.Path) -> None:
    """Brings the copy up to date. What differs is written anew, so that cargo sees that it changed,
    also where an earlier run left a fault behind."""
    wanted = set()
    for name in COPIED:
        for source in _files(REPO / name):
            path = copy / source.relative_to(REPO)
            wanted.add(path)
            content = source.read_bytes()
            if not path.is_file() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                shutil.copymode(source, path)
    for path in _files(copy):
        if path not in wanted:
            path.unlink()


def _files(root: pathlib.Path):
    if root.is_file():
        yield root
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in BUILT]
        yield from (pathlib.Path(folder) / name for name in files)
