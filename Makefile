# A few words over meson. `make help` lists them. Each works on a fresh Debian machine, as root or with sudo.
BUILD := build
PREFIX ?= /usr/local
SEED ?= 1
SEEDS ?=
JOBS ?= $(shell nproc)
RUN_FLAGS ?=
FUZZ_SECONDS ?= 60
SOURCES = $(shell find src include tests bench demo-api -name '*.[ch]' 2>/dev/null)

.PHONY: help build run test sim bench fuzz docs fmt lint install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

packages: # what building and running needs, installed if it is missing
	@tools/install-packages build run
.PHONY: packages

$(BUILD)/build.ninja: | packages
	meson setup $(BUILD)

build: packages $(BUILD)/build.ninja ## build everything into build/
	ninja -C $(BUILD)

run: build ## a cluster of three replicas on 127.0.0.1:7101-7103 with the demo schema; Ctrl-C stops it
	@exec $(BUILD)/src/cli/caucus up --schema demo-api/schema.sql --dir ./caucus-data $(RUN_FLAGS)

test: ## all tests, with gcc, clang and sanitizers (address, undefined behaviour, threads)
	@tools/run-tests

sim: build ## the simulator: SEED=n, or SEEDS=a-b JOBS=k
	$(BUILD)/tests/sim/sim $(if $(SEEDS),--seeds $(SEEDS) --jobs $(JOBS),--seed $(SEED))

bench: build ## side by side with PostgreSQL, its replication, pglogical and etcd
	bench/compare --build $(BUILD)

fuzz: ## each fuzz target for FUZZ_SECONDS=60 under libFuzzer and sanitizers
	@tools/install-packages build fuzz
	[ -f build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzzing=true -Db_sanitize=address,undefined
	ninja -C build-fuzz
	@set -e; for target in build-fuzz/tests/fuzz/fuzz_*; do \
	  [ -x "$$target" ] && [ -f "$$target" ] || continue; \
	  name=$${target##*/fuzz_}; mkdir -p build-fuzz/corpus/$$name; echo "== $$name"; \
	  $$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=0 -artifact_prefix=build-fuzz/ \
	    build-fuzz/corpus/$$name tests/fuzz/corpus/$$name; \
	done

docs: build ## write the generated part of docs/CONFIG.md
	python3 tests/tidy/tidy.py --write . $(BUILD)/tests/tidy/config_docs

fmt: ## format the C sources
	@tools/install-packages lint
	clang-format -i $(SOURCES)

lint: build ## style and static checks
	@tools/install-packages lint
	python3 tests/tidy/tidy.py . $(BUILD)/tests/tidy/config_docs
	clang-format --dry-run -Werror $(SOURCES)
	clang-tidy --quiet -p $(BUILD) $(shell find src -name '*.c' 2>/dev/null)

install: build ## program, library, headers and documents below PREFIX=/usr/local
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	meson install -C $(BUILD)

clean: ## remove what was built (never data)
	rm -rf $(BUILD) build-test build-clang build-sanitize build-thread build-fuzz build-*.log
