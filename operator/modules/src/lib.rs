//! Fetches, verifies and compiles WASM modules.
