# Each target is enough by itself on a Debian machine that has Rust; what it installs it says.
# Nothing is done twice: what is up to date is left alone. Builds live outside the checkout.
CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/penstock/target
export CARGO_TARGET_DIR

say = @printf '\n\033[1m== %s\033[0m\n'
penstock = $(CARGO_TARGET_DIR)/debug/penstock

.DEFAULT_GOAL := help
.PHONY: help demo test bench filters build

help: ## Show the targets
	@echo 'Targets:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'The first run of a target builds everything it needs: some minutes on two cores.'

demo: filters build ## Run examples/quickstart, show what each filter does; ONCE=1 ends afterwards
	$(say) 'the quickstart: one request after the other through the gateway'
	@$(penstock) demo examples/quickstart $(if $(filter-out 0,$(ONCE)),--once)

filters: ## Build the filters in filters/ and examples/filters/ to filters/dist/*.wasm
	$(say) 'filters: WASM components from source (brings the WASM target where it is missing)'
	@cargo xtask filters

build: ## Build the penstock command
	$(say) 'the penstock command'
	@cargo build -p penstock-cli

test: ## Install what the tests need and run all of them
	$(say) '1/6 what the tests need'
	@xtask/setup/wasm-tools.sh
	$(say) '2/6 filters from source'
	@cargo xtask filters
	$(say) '3/6 form: rustfmt, clippy'
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets -- -D warnings
	$(say) '4/6 generated files are fresh'
	@cargo xtask generate --check
	$(say) '5/6 tests'
	@cargo test --workspace
	$(say) '6/6 dependencies: licences, advisories, bans'
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check; \
	 else echo 'cargo-deny is not installed: left out (cargo install cargo-deny)'; fi

bench: filters ## Measure beside nginx, HAProxy and Envoy; BENCH= narrows; writes docs/benchmarks.md
	$(say) 'measurements, each beside its peers in one run'
	@tests/bench/run.sh $(BENCH)
