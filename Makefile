# Each target is enough by itself on a Debian machine that has Rust; what it installs it says.
CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/penstock/target
export CARGO_TARGET_DIR

.PHONY: test
test: ## Install what the tests need and run all of them
	cargo test --workspace
