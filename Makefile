# The words that span languages. `make` alone lists them.
#
# Everything that is built, installed for the tests or downloaded lies in target/, and `make clean` removes it.
# What a word needs is set up first, once, and noted in target/setup: Debian packages by apt-get where that is
# allowed, Python's by pip into a virtual environment, Node's by npm. What is missing otherwise is named in a sentence.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
comma := ,

# Where everything goes, whatever the environment says.
TARGET ?= target
export CARGO_TARGET_DIR := $(abspath $(TARGET))
# Where rustup puts cargo, for shells that were opened before.
export PATH := $(PATH):$(HOME)/.cargo/bin
# Node brings certificates of its own; those of the machine count as well.
export NODE_EXTRA_CA_CERTS ?= $(wildcard /etc/ssl/certs/ca-certificates.crt)

CARGO ?= cargo
CC ?= cc
CXX ?= c++
INSTALL ?= install
STRIP ?= strip
PREFIX ?= /usr/local

VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# The soname's version, as build.rs sets it.
SOVERSION := $(shell echo $(VERSION) | sed -E 's/^(0\.[0-9]+|[0-9]+).*/\1/')
RUST_VERSION := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

SETUP := $(TARGET)/setup
RELEASE := $(TARGET)/release
# An installation of our own, for quickstart and the tests of other languages.
LOCAL := $(CARGO_TARGET_DIR)/prefix
# Python and Node with the packages installed.
PYTHON := $(TARGET)/python/bin/python
NODE := NODE_PATH=$(CARGO_TARGET_DIR)/node/node_modules node
# The tool is built apart: beside the libraries, it would leave there a shared library with its own features.
TOOL := $(TARGET)/tool/release/diamonddb

.PHONY: help
help:
	@echo 'make quickstart      set up, build, import real data, open one database from C, C++, Python and Node'
	@echo 'make test            set up, then every test there is: Rust, C, C++, Python, Node'
	@echo 'make install         headers, libraries, pkg-config and CMake files; PREFIX=/usr/local DESTDIR='
	@echo 'make uninstall       takes them away again'
	@echo 'make bench           our engine beside its peers: twenty minutes, writes cbench/RESULTS.md'
	@echo 'make bench-quick     the same in two minutes; make bench-sustained: the worst stop of a minute, by engine'
	@echo 'make bench-bindings  what calls cost from C, C++, Python and Node: writes bindings/RESULTS.md'
	@echo 'make soak            the long runs, hours in all; one alone by make soak-$(word 1,$(SOAKS)), and so on:'
	@echo '                     $(SOAKS)'
	@echo 'make power-cuts      a real file system on a device that loses its power; needs root'
	@echo 'make header          writes include/diamonddb.h anew from src/ffi'
	@echo 'make clean           removes target/'

# Set-up ---------------------------------------------------------------------------------------------------------------

# For each word, the commands it needs and the Debian packages that have them.
TOOLS_build := cc:gcc,libc6-dev c++:g++ strip:binutils
TOOLS_test := $(TOOLS_build) gcc:gcc g++:g++ pkg-config:pkg-config valgrind:valgrind readelf:binutils \
              python3:python3 node:nodejs npm:npm timeout:coreutils

$(SETUP)/tools-%:
	@mkdir -p $(SETUP); missing=; packages=; \
	for tool in $(TOOLS_$*); do \
		command -v "$${tool%%:*}" > /dev/null && continue; \
		missing+=" $${tool%%:*}"; packages+=" $$(tr , ' ' <<< "$${tool#*:}")"; \
	done; \
	packages=" $$(tr ' ' '\n' <<< "$$packages" | sort -u | xargs)"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		echo "Installing$$packages by apt-get"; export DEBIAN_FRONTEND=noninteractive; \
		{ apt-get update && apt-get install -y --no-install-recommends $$packages; } > $@.log 2>&1 \
			|| { tail -n 5 $@.log; echo "apt-get could not install$$packages; its last words are above."; exit 1; } >&2; \
	elif [ -n "$$missing" ]; then \
		echo "Missing:$$missing. On Debian: sudo apt-get install$$packages. Then run make again." >&2; exit 1; \
	fi
	@touch $@

$(SETUP)/rust: Cargo.toml
	@mkdir -p $(SETUP); get='Get it from https://rust-lang.org/tools/install and run make again.'; \
	if ! command -v $(CARGO) > /dev/null || ! command -v rustc > /dev/null; then \
		echo "Missing: cargo and rustc, version $(RUST_VERSION) or later. $$get" >&2; exit 1; \
	fi; \
	have=$$(rustc --version | cut -d ' ' -f 2); \
	if [ "$$(printf '%s\n' $(RUST_VERSION) "$$have" | sort -V | head -n 1)" != $(RUST_VERSION) ]; then \
		echo "rustc is version $$have, and $(RUST_VERSION) or later is needed. $$get" >&2; exit 1; \
	fi
	@touch $@

$(SETUP)/clippy: $(SETUP)/rust
	@$(CARGO) clippy --version > /dev/null 2>&1 || rustup component add clippy > $@.log 2>&1 \
		|| { echo 'Missing: clippy. Get it by: rustup component add clippy. Then run make again.' >&2; exit 1; }
	@touch $@

# A package of Debian without a command of its own.
$(SETUP)/python: $(SETUP)/tools-test
	@python3 -c 'import ensurepip, venv' 2> /dev/null || [ "$$(id -u)" != 0 ] \
		|| { apt-get update && apt-get install -y --no-install-recommends python3-venv; } > $@.log 2>&1 || true
	@python3 -m venv --clear $(TARGET)/python > $@.log 2>&1 \
		|| { tail -n 5 $@.log; echo 'Missing: Python 3.9 or later with venv. On Debian: apt-get install python3-venv'; \
			exit 1; } >&2
	@touch $@

NODE_MIN := 20
$(SETUP)/node: $(SETUP)/tools-test
	@have=$$(node -p 'parseInt(process.versions.node)'); [ "$$have" -ge $(NODE_MIN) ] \
		|| { echo "node is version $$have, and $(NODE_MIN) or later is needed: https://nodejs.org" >&2; exit 1; }
	@touch $@

# Libraries ------------------------------------------------------------------------------------------------------------

# What `rustc --print native-static-libs` says a program needs beside libdiamonddb.a.
STATIC_LIBS := -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
LIB := $(DESTDIR)$(PREFIX)/lib
FILL := sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@VERSION@|$(VERSION)|g' -e 's|@SOVERSION@|$(SOVERSION)|g' \
        -e 's|@STATIC_LIBS@|$(STATIC_LIBS)|g'

.PHONY: libraries install uninstall local packages header clean

# One crate type a call: rustc drops link-time optimisation where it makes several.
libraries: $(SETUP)/rust $(SETUP)/tools-build
	$(CARGO) rustc --quiet --release --lib --crate-type cdylib
	$(CARGO) rustc --quiet --release --lib --crate-type staticlib

install: libraries
	$(INSTALL) -d $(DESTDIR)$(PREFIX)/include $(LIB)/pkgconfig $(LIB)/cmake/diamonddb
	$(INSTALL) -m 644 include/diamonddb.h $(DESTDIR)$(PREFIX)/include/diamonddb.h
	$(INSTALL) -m 644 bindings/cpp/diamonddb.hpp $(DESTDIR)$(PREFIX)/include/diamonddb.hpp
	$(INSTALL) -m 755 $(RELEASE)/libdiamonddb.so $(LIB)/libdiamonddb.so.$(VERSION)
	$(STRIP) --strip-unneeded $(LIB)/libdiamonddb.so.$(VERSION)
	ln -sf libdiamonddb.so.$(VERSION) $(LIB)/libdiamonddb.so.$(SOVERSION)
	ln -sf libdiamonddb.so.$(SOVERSION) $(LIB)/libdiamonddb.so
	$(INSTALL) -m 644 $(RELEASE)/libdiamonddb.a $(LIB)/libdiamonddb.a
	$(STRIP) --strip-debug $(LIB)/libdiamonddb.a
	$(FILL) install/diamonddb.pc.in > $(LIB)/pkgconfig/diamonddb.pc
	$(FILL) install/diamonddbConfig.cmake.in > $(LIB)/cmake/diamonddb/diamonddbConfig.cmake
	$(FILL) install/diamonddbConfigVersion.cmake.in > $(LIB)/cmake/diamonddb/diamonddbConfigVersion.cmake

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/include/diamonddb.h $(DESTDIR)$(PREFIX)/include/diamonddb.hpp
	rm -f $(LIB)/libdiamonddb.so* $(LIB)/libdiamonddb.a
	rm -f $(LIB)/pkgconfig/diamonddb.pc
	rm -rf $(LIB)/cmake/diamonddb

local:
	@$(MAKE) -s install PREFIX=$(LOCAL) DESTDIR=

# The packages of Python and Node as a user installs them, with the library of ours.
packages: local $(SETUP)/python $(SETUP)/node
	@DIAMOND_LIB=$(LOCAL)/lib/libdiamonddb.so $(PYTHON) -m pip install --quiet --disable-pip-version-check \
		--force-reinstall bindings/python > $(SETUP)/pip.log 2>&1 \
		|| { tail -n 5 $(SETUP)/pip.log; echo 'pip could not install bindings/python; its last words are above.'; \
			exit 1; } >&2
	@rm -rf $(TARGET)/node && mkdir -p $(TARGET)/node && echo '{"private": true}' > $(TARGET)/node/package.json
	@cd $(TARGET)/node && DIAMOND_LIB=$(LOCAL)/lib/libdiamonddb.so npm install --install-links --prefer-offline \
		--no-audit --no-fund $(CURDIR)/bindings/node > $(abspath $(SETUP))/npm.log 2>&1 \
		|| { tail -n 5 $(abspath $(SETUP))/npm.log; \
			echo 'npm could not install bindings/node; its last words are above.'; exit 1; } >&2

header: $(SETUP)/rust $(SETUP)/tools-test
	DIAMOND_WRITE_HEADER=1 $(CARGO) test --quiet --test header

clean:
	$(CARGO) clean

# Quickstart -----------------------------------------------------------------------------------------------------------

.PHONY: quickstart tool

tool: $(SETUP)/rust $(SETUP)/tools-build
	@$(CARGO) build --quiet --release --features cli --bin diamonddb --target-dir $(TARGET)/tool

# The programs of README.md, so that what it shows is what runs: the first block of each language.
BLOCK_c := c
BLOCK_cpp := cpp
BLOCK_py := python
BLOCK_js := js

$(TARGET)/readme/people.%: README.md
	@mkdir -p $(@D)
	@awk -v start='```$(BLOCK_$*)' '$$0 == start && !done { on = 1; next } on && /^```/ { on = 0; done = 1 } on; \
		END { exit !done }' README.md > $@

LINKED := -Wall -Wextra -Werror -I$(LOCAL)/include -L$(LOCAL)/lib -ldiamonddb -Wl,-rpath,$(LOCAL)/lib
$(TARGET)/readme/people_c: $(TARGET)/readme/people.c local
	@$(CC) -std=c11 -o $@ $< $(LINKED)
$(TARGET)/readme/people_cpp: $(TARGET)/readme/people.cpp local
	@$(CXX) -std=c++17 -o $@ $< $(LINKED)

PROGRAMS := $(addprefix $(TARGET)/readme/people,_c _cpp .py .js)
QUICK := $(TARGET)/quickstart
seconds = awk -v from=$$(cat $(QUICK)/$(1)) -v to=$$(date +%s.%N) 'BEGIN { printf "%.1f s", to - from }'

quickstart:
	@rm -rf $(QUICK); mkdir -p $(QUICK); date +%s.%N > $(QUICK)/begun
	@echo '1. Setting up, then building the library (a minute or two the first time)'
	@$(MAKE) local
	@echo '   and the tool'
	@$(MAKE) tool
	@echo "   done after $$($(call seconds,begun))"
	@echo '2. Importing real data: cities of the world (GeoNames), flights from New York (January 2013)'
	@date +%s.%N > $(QUICK)/import
	@$(TOOL) import --quiet --null '' tests/data/cities.csv $(QUICK)/db cities
	@$(TOOL) import --quiet tests/data/flights-2013-01.csv $(QUICK)/db flights
	@echo "   done in $$($(call seconds,import)); every row is on disk"
	@$(TOOL) tables $(QUICK)/db | sed 's/^/   /'
	@echo '3. The first three cities, and every checksum read back'
	@$(TOOL) scan $(QUICK)/db cities --limit 3 | sed 's/^/   /'
	@$(TOOL) verify $(QUICK)/db | sed 's/^/   /'
	@echo '4. One database from C, C++, Python and Node, by the programs of README.md: each adds what it adds'
	@$(MAKE) packages $(PROGRAMS)
	@$(TARGET)/readme/people_c $(QUICK)/people.db | sed 's/^/   C:      /'
	@$(TARGET)/readme/people_cpp $(QUICK)/people.db | sed 's/^/   C++:    /'
	@$(PYTHON) $(TARGET)/readme/people.py $(QUICK)/people.db | sed 's/^/   Python: /'
	@$(NODE) $(TARGET)/readme/people.js $(QUICK)/people.db | sed 's/^/   Node:   /'
	@rows=$$($(TOOL) tables --format csv $(QUICK)/db | awk -F , 'NR > 1 { rows += $$2 } END { print rows }'); \
	echo; echo "Done: $$rows rows imported, saved and verified; $$($(call seconds,begun)) in all. Next:"
	@echo '   $(TOOL) scan $(QUICK)/db flights --from 100 --limit 5'
	@echo '   $(TOOL) --help'
	@echo '   less include/diamonddb.h               the C manual'
	@echo '   less README.md                         five minutes in C, C++, Python and Node'
	@echo '   make test'

# Tests ----------------------------------------------------------------------------------------------------------------

PARTS := lints docs rust asan schedules fuzz cpp python node readme
RESULTS := $(TARGET)/test

.PHONY: test test-setup $(PARTS:%=test-%)

# All parts run, also after one has failed.
test: test-setup
	@rm -rf $(RESULTS); mkdir -p $(RESULTS); begun=$$(date +%s); status=0; \
	$(MAKE) -k $(PARTS:%=test-%) || status=$$?; \
	awk '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
		END { print ""; print "Rust, C and C++: " passed " passed, " failed " failed, " ignored " ignored" }' \
		$(RESULTS)/rust.log; \
	for part in $(PARTS); do [ -e $(RESULTS)/$$part.ok ] && echo "$$part: passed" || echo "$$part: FAILED"; done; \
	echo "$$(( $$(date +%s) - begun )) s"; exit $$status

test-setup: $(SETUP)/rust $(SETUP)/clippy $(SETUP)/tools-test $(SETUP)/python $(SETUP)/node
	@mkdir -p $(RESULTS)

test-lints: test-setup
	$(CARGO) clippy --quiet --all-targets -- -D warnings
	$(CARGO) clippy --quiet --all-targets --all-features -- -D warnings
	@touch $(RESULTS)/lints.ok

test-docs: test-setup
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --quiet --no-deps --all-features
	@touch $(RESULTS)/docs.ok

# The C and C++ programs are among these: tests/c_abi.rs installs the library and compiles them.
test-rust: test-setup
	$(CARGO) test --all-features --no-fail-fast 2>&1 | tee $(RESULTS)/rust.log
	@touch $(RESULTS)/rust.ok

# A build of its own, in which locks and atomics are the scheduler's.
SCHEDULED := RUSTFLAGS='--cfg shuttle' $(CARGO) test --features simulation --test schedules \
	--target-dir $(TARGET)/schedules

test-schedules: test-setup
	$(SCHEDULED) 2>&1 | tee $(RESULTS)/schedules.log
	@touch $(RESULTS)/schedules.ok

# Coverage-guided, from the corpora in tests/fuzz/corpus: tests/fuzz/run says how.
test-fuzz: test-setup
	tests/fuzz/run test
	@touch $(RESULTS)/fuzz.ok

# The border again, built for the address sanitizer: stable Rust has it behind a switch.
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
test-asan: test-setup
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address $(CARGO) test --quiet --features simulation --target $(HOST) \
		--target-dir $(TARGET)/asan --test border --test panics -- --skip valgrind
	@touch $(RESULTS)/asan.ok

test-cpp: test-setup local
	bindings/cpp/tests/run $(LOCAL) $(RESULTS)/cpp
	@touch $(RESULTS)/cpp.ok

test-python: test-setup local
	DIAMOND_LIB=$(LOCAL)/lib/libdiamonddb.so bindings/python/tests/run
	@touch $(RESULTS)/python.ok

test-node: test-setup local
	DIAMOND_LIB=$(LOCAL)/lib/libdiamonddb.so node bindings/node/test/run.js
	@touch $(RESULTS)/node.ok

# Every program that README.md shows, run as it stands: over one database, and each over one of its own.
test-readme: test-setup packages $(PROGRAMS)
	@rm -rf $(RESULTS)/readme; mkdir -p $(RESULTS)/readme
	@[ $$(wc -l < $(TARGET)/readme/people.c) -lt 60 ] \
		|| { echo 'The C program of README.md has 60 lines or more.' >&2; exit 1; }
	for name in c cpp python node; do for place in one $$name; do db=$(RESULTS)/readme/$$place.db; case $$name in \
		c | cpp) $(TARGET)/readme/people_$$name $$db;; \
		python) $(PYTHON) $(TARGET)/readme/people.py $$db;; \
		node) $(NODE) $(TARGET)/readme/people.js $$db;; \
	esac; done; done
	@touch $(RESULTS)/readme.ok

# Longer runs ----------------------------------------------------------------------------------------------------------

# Each part goes through seeds from SEED on, and says which to go on from.
SEED ?= $(shell od -An -N6 -tu8 /dev/urandom | tr -d ' ')
SECONDS ?= 3600
STATES ?= 40
SCHEDULES ?= 20000
ROUNDS ?= 4000
KILLS ?= 5000
SIZES ?= 5000
INJECTIONS ?= 1000000
RUNS ?= 10000000
CUTS ?= 200
FILE_SYSTEMS ?= ext4

SOAKS := crash faults damage kill limits schedules fuzz threads readers serve

.PHONY: bench bench-quick bench-sustained bench-bindings soak $(SOAKS:%=soak-%) power-cuts

# What the benchmark sets beside the engine, by header and Debian package. What is not there is left out and named.
PEERS := lmdb.h:liblmdb-dev sqlite3.h:libsqlite3-dev rocksdb/c.h:librocksdb-dev leveldb/c.h:libleveldb-dev \
         db.h:libdb-dev wiredtiger.h:libwiredtiger-dev

$(SETUP)/peers: $(SETUP)/tools-build
	@updated=; missing=; \
	for peer in $(PEERS); do \
		has() { echo "#include <$${peer%%:*}>" | $(CC) -E - > /dev/null 2>&1; }; \
		has && continue; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
			echo "Installing $${peer##*:} by apt-get"; export DEBIAN_FRONTEND=noninteractive; \
			[ -n "$$updated" ] || apt-get update >> $@.log 2>&1 || true; updated=yes; \
			apt-get install -y --no-install-recommends $${peer##*:} >> $@.log 2>&1 || true; \
		fi; \
		has || missing+=" $${peer##*:}"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "These peers are left out; to have them, on Debian: sudo apt-get install$$missing" >&2; \
	else touch $@; fi

bench: $(SETUP)/rust $(SETUP)/peers
	@$(MAKE) -C cbench table

bench-quick: $(SETUP)/rust $(SETUP)/peers
	@$(MAKE) -C cbench quick

bench-sustained: $(SETUP)/rust $(SETUP)/peers
	@$(MAKE) -C cbench sustained

# In the virtual environment of Python's tests, which has what they need.
TESTED := $(TARGET)/bindings/python/bin/python

bench-bindings: test-python test-node
	@$(TESTED) -m pip install --quiet --disable-pip-version-check lmdb
	@PYTHON=$(abspath $(TARGET))/bindings/python/bin/python bindings/bench/run $(LOCAL) $(TARGET)/bindings/bench

soak:
	@for part in $(SOAKS); do echo "soak-$$part"; $(MAKE) soak-$$part SEED=$(SEED) || exit; done

SOAK := $(CARGO) test --release --features simulation,cli --target-dir $(TARGET)/soak

soak-crash: $(SETUP)/rust $(SETUP)/tools-build
	DIAMOND_SEED=$(SEED) DIAMOND_STATES=$(STATES) DIAMOND_SECONDS=$(SECONDS) $(SOAK) --test crash -- --nocapture

soak-faults: $(SETUP)/rust $(SETUP)/tools-test
	DIAMOND_SEED=$(SEED) DIAMOND_FAULTS=all $(SOAK) --test faults --test interposer --test allocation -- --nocapture

soak-damage: $(SETUP)/rust $(SETUP)/tools-build
	DIAMOND_SEED=$(SEED) DIAMOND_INJECTIONS=$(INJECTIONS) $(SOAK) --test damage --test salvage -- --nocapture

soak-kill: $(SETUP)/rust $(SETUP)/tools-build
	DIAMOND_SEED=$(SEED) DIAMOND_ROUNDS=$(KILLS) $(SOAK) --test kill -- --nocapture

soak-limits: $(SETUP)/rust $(SETUP)/tools-build
	DIAMOND_LIMITS=$(SIZES) $(SOAK) --test limits -- --nocapture

soak-schedules: $(SETUP)/rust $(SETUP)/tools-build
	DIAMOND_SEED=$(SEED) DIAMOND_SCHEDULES=$(SCHEDULES) $(SCHEDULED) -- --nocapture

# Goes on where a stopped one was; findings lie in target/fuzz/found.
soak-fuzz: $(SETUP)/rust $(SETUP)/tools-test
	DIAMOND_FUZZ_RUNS=$(RUNS) tests/fuzz/run soak

# The sanitizer must see into std as well, so std is built with it: from its source, by switches that a stable compiler
# accepts under this name.
SANITIZED := x86_64-unknown-linux-gnu

soak-threads: $(SETUP)/rust $(SETUP)/tools-build
	@[ -d "$$(rustc --print sysroot)/lib/rustlib/src/rust/library" ] || rustup component add rust-src \
		|| { echo 'Missing: the source of std. Get it by: rustup component add rust-src' >&2; exit 1; }
	RUSTC_BOOTSTRAP=1 RUSTFLAGS='-Zsanitizer=thread --cfg tsan' TSAN_OPTIONS=history_size=7 \
		DIAMOND_SEED=$(SEED) DIAMOND_ROUNDS=$(ROUNDS) $(CARGO) test -Zbuild-std --target $(SANITIZED) \
		--target-dir $(TARGET)/sanitized --features simulation --test threads -- --test-threads 1 --nocapture

# Eight clients, and a kill -9 in the middle; then ten times as much that is no request.
soak-serve: $(SETUP)/rust $(SETUP)/tools-test
	DIAMOND_SECONDS=60 $(SOAK) --test serve -- --nocapture kill_in_the_midst
	DIAMOND_SEED=$(SEED) DIAMOND_ROUNDS=100000 $(SOAK) --test serve -- --nocapture random

# What reads Arrow reads a table: too heavy to be installed for every test.
soak-readers: test-setup local
	DIAMOND_LIB=$(LOCAL)/lib/libdiamonddb.so EXTRAS=test,readers bindings/python/tests/run -k reads_a_table -rs
	@$(TESTED) -c 'import polars, pandas, duckdb'

# A real file system on a device that loses its power: needs root, FUSE and loop devices, so it is a word of its own.
power-cuts: $(SETUP)/rust $(SETUP)/tools-build
	@[ "$$(id -u)" = 0 ] && [ -e /dev/fuse ] && [ -e /dev/loop-control ] \
		|| { echo 'Power cuts need root, /dev/fuse and loop devices.' >&2; exit 1; }
	@for kind in $(subst $(comma), ,$(FILE_SYSTEMS)); do command -v mkfs.$$kind > /dev/null \
		|| { echo "Missing: mkfs.$$kind. On Debian: apt-get install e2fsprogs xfsprogs" >&2; exit 1; }; done
	DIAMOND_SEED=$(SEED) DIAMOND_CUTS=$(CUTS) DIAMOND_FILE_SYSTEMS=$(FILE_SYSTEMS) $(CARGO) test \
		--manifest-path tests/power/Cargo.toml --target-dir $(TARGET)/power --test power \
		-- --nocapture --test-threads 1
