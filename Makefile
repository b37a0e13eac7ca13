# Each target is enough by itself on a Debian machine that has Rust; what it installs it says.
# Nothing is done twice: what is up to date is left alone. Builds live outside the checkout.
CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/penstock/target
export CARGO_TARGET_DIR

say = @printf '\n\033[1m== %s\033[0m\n'
penstock = $(CARGO_TARGET_DIR)/debug/penstock

.DEFAULT_GOAL := help
.PHONY: help demo test bench deny faults mutants filters build cluster cluster-down conformance

help: ## Show the targets
	@echo 'Targets:'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'The first run of a target builds everything it needs: on two slow cores demo takes 20 minutes, test an hour.'

demo: filters build ## Run examples/quickstart, show what each filter does; ONCE=1 ends afterwards
	$(say) 'the quickstart: one request after the other through the gateway'
	@$(penstock) demo examples/quickstart $(if $(filter-out 0,$(ONCE)),--once)

filters: xtask ## Build the filters in filters/ and examples/filters/ to filters/dist/*.wasm
	$(say) 'filters: WASM components from source (brings the WASM target where it is missing)'
	@cargo xtask filters

build: checkout ## Build the penstock command
	$(say) 'the penstock command'
	@cargo build --bin penstock

.PHONY: checkout xtask
checkout:
	@xtask/setup/checkout.sh

# By the name of the program, not of its package: so cargo takes the features that the whole workspace
# needs, and what is built for one target serves the others. Aloud, since it takes minutes once.
xtask: checkout
	$(say) 'the tool that builds, installs and generates (xtask)'
	@cargo build --bin xtask

test: xtask ## Install what the tests need and run all of them
	$(say) '1/8 what the tests need'
	@xtask/setup/debian.sh openssl:openssl curl:curl ip:iproute2 nft:nftables docker-registry:docker-registry
	@xtask/setup/wasm-tools.sh
	@xtask/setup/otlp-receiver.sh
	@xtask/setup/moto.sh
	@xtask/setup/cluster.sh
	$(say) '2/8 filters and the programs for the kernel, from source'
	@cargo xtask filters
	@cargo xtask ebpf
	$(say) '3/8 form: rustfmt, clippy'
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(say) '4/8 tests: build'
	@cargo test --workspace --no-run
	$(say) '5/8 images, which a cluster is installed from'
	@cargo xtask images
	$(say) '6/8 tests: run'
	@PENSTOCK_BIN=$(penstock) cargo test --workspace
	$(say) '7/8 the filters: their own tests, on this machine instead of in the gateway'
	@CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/filters-native cargo test --quiet --manifest-path filters/Cargo.toml
	$(say) '8/8 generated files are fresh; the quickstart answers as it says'
	@$(CARGO_TARGET_DIR)/debug/xtask generate --check
	@$(penstock) demo examples/quickstart --once

bench: xtask ## Measure beside nginx, HAProxy and Envoy; BENCH= narrows; writes docs/benchmarks.md
	$(say) 'measurements, each beside its peers in one run'
	@tests/bench/run.sh $(if $(BENCH),--only $(BENCH))

deny: ## What may be linked: bans, licences, sources (deny.toml), judged by cargo-deny
	$(say) 'bans, licences, sources (advisories need github.com: cargo deny check advisories)'
	@PATH="$$(xtask/setup/cargo-deny.sh):$$PATH" cargo deny --all-features check bans licenses sources

faults: filters ## Plant faults, one after the other (FAULTS= narrows): the tests must catch each
	@cargo xtask ebpf
	@tests/faults/run.py $(FAULTS)

mutants: ## Change the pure crates in every small way (MUTANTS=config, gateway or routing narrows)
	$(say) 'mutants: the tests must notice each; those that they do not are named at the end'
	@tests/faults/mutants.py $(MUTANTS)

cluster: xtask ## A Kubernetes cluster in network namespaces with Penstock in it (NODES=2); as root
	@cargo xtask filters
	@cargo xtask ebpf
	$(say) 'images of operator, agent and proxy'
	@cargo xtask images
	$(say) 'a cluster: etcd, Kubernetes and containerd, each node a network namespace of its own'
	@cargo xtask cluster up --nodes $(or $(NODES),2)

cluster-down: xtask ## Take the cluster away, or what is left of it
	@cargo xtask cluster down

conformance: xtask ## The official Gateway API suite against the cluster (PROFILES=, RUN=)
	$(say) 'the official conformance suite, run where clients of the cluster are'
	@cargo xtask conformance $(if $(PROFILES),--profiles $(PROFILES)) $(if $(RUN),--run '$(RUN)')
