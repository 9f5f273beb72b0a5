# `make` alone lists the targets. Needed: git, a Rust toolchain and a package manager; the rest is fetched and started.
SHELL := bash
.DEFAULT_GOAL := help
.PHONY: help run test lint fmt bench clean

# make test FILTER=name runs the tests whose names contain it
FILTER ?=

TOUR := --profile tour --features tour

NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
ifeq ($(NEXTEST),yes)
CARGO_TEST := cargo nextest run --no-tests=pass
else
CARGO_TEST := cargo test --all-targets
endif

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 14

run: ## RabbitMQ, Redis, sandbox and relay; a sample directory of 20,000 events; does the target equal it?
	@cargo build $(TOUR) --bins
	@scripts/with-services cargo run --quiet $(TOUR) --bin tour

test: ## every test, with RabbitMQ and Redis from Docker or from this machine (FILTER=name for some)
	@if [ -x scripts/python-tools ]; then scripts/python-tools; fi
	@$(CARGO_TEST) --no-run
	@scripts/with-services $(CARGO_TEST) $(FILTER)
	@cargo test --quiet --doc $(FILTER)

lint: ## formatting, clippy, and dependencies with cargo-deny where it is installed
	@cargo fmt --check
	@cargo clippy --all-targets --all-features -- -D warnings
	@scripts/check-dependencies

fmt: ## formats the code
	@cargo fmt

bench: ## the benchmarks, with RabbitMQ and Redis as for the tests
	@cargo bench --no-run
	@scripts/with-services cargo bench --no-fail-fast

clean: ## what was built, and the tools fetched for the tests
	@cargo clean
	@rm -rf .run
