//! Runs policies that are WASM components: plans, instances, limits.
