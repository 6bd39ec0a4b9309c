# Every target works from a clean clone on a machine that has Rust; the first one that needs more
# (a C compiler, cmake, curl) installs it through scripts/setup.sh.

export CARGO_NET_RETRY ?= 10
export CARGO_TERM_COLOR ?= auto

# The scripts run against the profile that the tests have built anyway.
DEBUG_BIN := target/debug/callboard

PREFIX ?= /usr/local

.DEFAULT_GOAL := help

.PHONY: help
help: ## Says what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: build ## Builds what is needed and runs callboard: clients on :8080, services on 127.0.0.1:8500
	exec target/release/callboard run

.PHONY: build
build: setup ## Builds target/release/callboard
	cargo build --release --locked --bin callboard

# What `make release` has built is installed as long as no source is newer.
RELEASE_BIN := target/release-pgo/callboard
RELEASE_IS_CURRENT = $(and $(wildcard $(RELEASE_BIN)),$(if $(shell find src Cargo.toml Cargo.lock -newer $(RELEASE_BIN)),,yes))
INSTALLED_BIN = $(if $(RELEASE_IS_CURRENT),$(RELEASE_BIN),target/release/callboard)

.PHONY: release
release: ## Builds target/release-pgo/callboard, optimised as a whole and for the load of make bench; takes long
	@scripts/release.sh

.PHONY: install
install: $(if $(RELEASE_IS_CURRENT),,build) ## Installs callboard with its manual pages and completions below PREFIX (/usr/local)
	install -D $(INSTALLED_BIN) "$(DESTDIR)$(PREFIX)/bin/callboard"
	$(INSTALLED_BIN) man --dir "$(DESTDIR)$(PREFIX)/share/man/man1" >/dev/null
	$(INSTALLED_BIN) completions bash | install -Dm644 /dev/stdin "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/callboard"
	$(INSTALLED_BIN) completions zsh | install -Dm644 /dev/stdin "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_callboard"
	$(INSTALLED_BIN) completions fish | install -Dm644 /dev/stdin "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/callboard.fish"

.PHONY: demo
demo: setup ## Shows requests spreading over services that join, leave and get killed
	@scripts/demo.sh

.PHONY: test
test: check test-rust test-paths test-cost test-schema test-examples test-tour test-demo test-prove test-dashboard test-compose ## Runs everything CI runs; CI=true lets no missing tool pass
	@echo "make test: all passed"

.PHONY: check
check: ## Checks formatting, lints and scripts
	@scripts/setup.sh rustfmt clippy
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --locked --no-deps --document-private-items --quiet
	@for script in scripts/*.sh; do bash -n "$$script" || exit 1; done
	@if [ "$$CI" = true ]; then scripts/setup.sh --package shellcheck; fi
	@if command -v shellcheck >/dev/null; then shellcheck -x scripts/*.sh .ci/run; else echo "SKIPPED: shellcheck (not installed)"; fi

.PHONY: test-rust
test-rust: setup peers
	cargo build --locked --bin callboard --example hello
	cargo test --locked
	@for file in conf/*.yaml; do $(DEBUG_BIN) check --config "$$file" || exit 1; done

.PHONY: test-cost
test-cost: test-rust
	@CALLBOARD_BIN=$(DEBUG_BIN) scripts/cost-test.sh

# What is about neither requests over HTTP/1 nor what becomes of them is no different there.
NOT_OF_PATHS := access_log_files:: acme:: addresses:: commands damage:: dashboard:: durability:: grpc http2_ journal \
	native_ planning:: prometheus:: proving:: pulling scopes:: simulating:: starting:: tcp_ tokens:: top:: \
	upgrading watching_crowd:: lean_path::

.PHONY: test-paths
test-paths: test-rust
	CALLBOARD_LEAN_PATH=off cargo test --locked --test behaviour -- $(NOT_OF_PATHS:%=--skip %)

.PHONY: test-schema
test-schema: test-rust
	@CALLBOARD_BIN=$(DEBUG_BIN) scripts/schema-test.sh

.PHONY: test-examples
test-examples: test-rust
	@CALLBOARD_BIN=$(DEBUG_BIN) scripts/examples-test.sh

.PHONY: test-tour
test-tour: test-rust
	@CALLBOARD_BIN=$(DEBUG_BIN) scripts/tour-test.sh

.PHONY: test-demo
test-demo: test-rust
	@CALLBOARD_BIN=$(DEBUG_BIN) DEMO_FAST=1 scripts/demo.sh

.PHONY: test-prove
test-prove: test-rust
	$(DEBUG_BIN) prove deploy --short

.PHONY: test-dashboard
test-dashboard: test-rust
	@CALLBOARD_BIN=$(DEBUG_BIN) scripts/dashboard-test.sh

.PHONY: test-compose
test-compose:
	@scripts/compose-test.sh

.PHONY: prove
prove: build ## Replaces, kills and hangs instances under load and counts what clients see of it; some minutes
	target/release/callboard prove deploy

.PHONY: bench
bench: release ## Sets callboard beside other proxies, measures its control plane and its growth, then bench-parts
	@scripts/bench-peers.sh
	cargo build --release --locked --bin callboard --example bare
	CALLBOARD_BIN=$(RELEASE_BIN) cargo bench --locked --bench peers --bench control --bench growth -- --write-readme
	$(MAKE) bench-parts

.PHONY: bench-parts
bench-parts: setup ## Measures picks, the registry, protocols, telemetry and WebSockets
	@command -v h2load >/dev/null || scripts/setup.sh --package nghttp2-client || true
	cargo bench --locked $(patsubst benches/%.rs,--bench %,$(wildcard benches/*.rs))

.PHONY: peers
peers: ## Installs the clients and servers that the tests let callboard stand between
	@scripts/peers.sh

.PHONY: setup
setup:
	@scripts/setup.sh
