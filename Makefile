# Needs Python 3.11 or newer, make and a package registry; `make help` lists what there is.
#
# Everything lives in .venv beside this file. Each install is done once per change of its lock, and every package,
# the build's own too, is installed by hash.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-print-directory --no-builtin-rules

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INSTALL := $(PIP) install --require-hashes

# What decides, and so is tested to the last branch; each a module or a package.
PURE := dates jobs lucca pacing plan
comma := ,
empty :=
space := $(empty) $(empty)
PURE_FILES := $(subst $(space),$(comma),$(foreach name,$(PURE),runner/$(name).py runner/$(name)/*))

.PHONY: help
help: ## tell what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1	\2/p' Makefile | while IFS='	' read -r name text; do \
		printf '  make %-9s %s\n' "$$name" "$$text"; done
	@echo '  PYTHON=python3.12 make …   takes that Python for .venv, when it is made'

.PHONY: run
run: .venv/core.stamp ## run the example night against the sandbox, and show where its files are
	@$(BIN)/python -m runner.demo

.PHONY: sandbox
sandbox: .venv/core.stamp ## serve a local Lucca to try things against
	@$(BIN)/runner sandbox

# What each campaign counted last, for the table of promises.
FIGURES := $(CURDIR)/build/figures

# Some tests mostly wait and others reckon for seconds, so there are three at a time for two cores, and whoever is done
# takes over from the others. The hundreds of programs that they start find their modules compiled, whatever is the habit
# here. The simulated nights only reckon; they come first and apart: where coverage is measured they cost twice as much,
# asked for or not, and other tests meet every line of theirs. The pure core is looked at when all have passed, and told
# only where it falls short, so that the closing line of pytest stays the last.
PYTEST = env -u PYTHONDONTWRITEBYTECODE FIGURES=$(FIGURES)/test $(BIN)/python -m pytest --dist worksteal
SEEDS := tests/test_simulation.py::test_the_promises_hold_whatever_the_seed

.PHONY: test
test: check ## check, then run every test; too little coverage fails
	@rm -rf .coverage .coverage.* $(FIGURES)/test
	@$(PYTEST) -n 2 $(SEEDS)
	@$(PYTEST) -n 3 --deselect $(SEEDS) --cov --cov-report=term --cov-fail-under=95
	@rm -f .coverage.* # what a killed program left half written; pytest has gathered the others
	@$(BIN)/python -m coverage report --include='$(PURE_FILES)' --fail-under=100 >.venv/pure-coverage.txt || { \
		cat .venv/pure-coverage.txt; \
		echo 'The pure core ($(PURE)) is not covered in every branch: see above.' >&2; exit 1; }

# About a quarter of an hour on two cores that do nothing else. QUICK=1 takes a minute and means little.
.PHONY: bench
bench: .venv/dev.stamp .venv-bench/stamp ## measure against a floor and peers, into docs/bench.md and bench.svg
	@$(BIN)/python -m tests.bench --peers .venv-bench/bin/python $(if $(QUICK),--quick,--write docs) $(BENCH)

# The first two for SOAK_MINUTES each, from seeds that no day has had before; what is found tells how to play it again.
SOAK_MINUTES ?= 60
SOAK_NIGHTS ?= 365
SOAK_FIRST ?= $(shell date +%Y%m%d)00000
.PHONY: soak
soak: .venv/dev.stamp ## kill the real program at random, simulate nights, each for SOAK_MINUTES=60, and then a year
	@rm -rf $(FIGURES)/soak; export FIGURES=$(FIGURES)/soak; \
	$(BIN)/python -m tests.killing.soak --minutes $(SOAK_MINUTES) --first $(SOAK_FIRST); killed=$$?; \
	$(BIN)/python -m tests.simulation --minutes $(SOAK_MINUTES) --start $(SOAK_FIRST) --jobs 2; simulated=$$?; \
	$(BIN)/python -m tests.simulation.year --nights $(SOAK_NIGHTS) --tenants 200 --seed $(SOAK_FIRST) && \
	exit $$((killed | simulated))

# The other way round: a suite that passes shows something only if it fails where it should.
.PHONY: controls
controls: .venv/dev.stamp ## plant known faults in a copy, one at a time, and see each caught by the tests
	@rm -rf $(FIGURES)/controls
	@FIGURES=$(FIGURES)/controls $(BIN)/python -m tests.controls --jobs 2 --write build/controls.json $(CONTROLS)

.PHONY: promises
promises: .venv/dev.stamp ## write what test, controls and soak counted last into the README's table of promises
	@$(BIN)/python -m tests.promises

.PHONY: check
check: .venv/dev.stamp ## lint, format, types and import contracts; changes nothing
	@echo 'ruff check';   $(BIN)/python -m ruff check --quiet
	@echo 'ruff format';  $(BIN)/python -m ruff format --check --quiet || { echo 'make format mends it' >&2; exit 1; }
	@echo 'mypy';         $(BIN)/python -m mypy --no-error-summary
	@echo 'lint-imports'; out=$$($(BIN)/lint-imports 2>&1) || { echo "$$out"; exit 1; }

.PHONY: format
format: .venv/dev.stamp ## format, and mend what ruff can mend
	@$(BIN)/python -m ruff check --fix-only --quiet
	@$(BIN)/python -m ruff format

# For every platform and Python at once. UPGRADE=1 takes newer releases, otherwise only what pyproject.toml asks for.
LOCK = build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-config --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.PHONY: lock
lock: ## resolve the dependencies anew into the four locks; UPGRADE=1 takes newer releases
	@test -x build/lock/bin/uv || { $(find_python); "$$python" -m venv build/lock && \
		build/lock/bin/python -m pip --quiet --disable-pip-version-check install 'uv>=0.9,<1'; }
	@$(LOCK) pyproject.toml --output-file requirements.lock
	@$(LOCK) pyproject.toml --group dev --all-extras --constraints requirements.lock --output-file requirements-dev.lock
	@$(LOCK) --group build --constraints requirements-dev.lock --output-file requirements-build.lock
	@$(LOCK) --group bench --constraints requirements.lock --output-file requirements-bench.lock
	@if grep -n '://' requirements.lock requirements-dev.lock requirements-build.lock requirements-bench.lock; then \
		echo 'A lock names an address: it would bind everyone to this registry.' >&2; exit 1; fi

# What the program is built of, for whoever has to keep an inventory. It reads the lock alone, so it names neither the
# tools nor what happens to be installed. There is no audit: to ask for known faults needs a service on the network.
.PHONY: sbom
sbom: build/sbom.json ## list what the program is built of, in CycloneDX, into build/sbom.json

build/sbom.json: requirements.lock pyproject.toml
	@test -x build/sbom/bin/cyclonedx-py || { $(find_python); "$$python" -m venv build/sbom && \
		build/sbom/bin/python -m pip --quiet --disable-pip-version-check install 'cyclonedx-bom==7.5.0'; }
	@PYTHONWARNINGS=ignore build/sbom/bin/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --mc-type application \
		--spec-version 1.6 --output-format JSON --output-reproducible --output-file $@
	@echo "$@: $$(grep -c '"purl"' $@) packages"

.PHONY: clean
clean: ## remove .venv and all that the tools made; output of runs stays
	rm -rf .venv .venv-bench build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find runner tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- .venv --------------------------------------------------------------------------------------------------------

# Sets $python. A name may stand for nothing that runs (a version manager's shim) or for a Python that cannot make an
# environment, so each is tried.
define find_python
	for python in $(if $(PYTHON),'$(PYTHON)',python3 python3.14 python3.13 python3.12 python3.11 python); do \
		"$$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && break; \
		python=; \
	done; \
	if [ -z "$$python" ]; then \
		echo 'No Python 3.11 or newer that can make an environment (venv and ensurepip) was found.' >&2; \
		echo 'Tried: $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11 python); found:' "$$($(or $(PYTHON),python3) --version 2>&1)" >&2; \
		echo 'Name another with: make PYTHON=/path/to/python3  (on Debian: apt install python3-venv)' >&2; \
		exit 1; \
	fi
endef

.venv/python.stamp:
	@$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || { $(find_python); \
		echo "making .venv with $$("$$python" --version)"; "$$python" -m venv --clear .venv; }
	@touch $@

.venv/core.stamp: requirements.lock requirements-build.lock pyproject.toml .venv/python.stamp
	@echo 'installing the program into .venv'
	@$(INSTALL) -r requirements-build.lock
	@$(INSTALL) -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/dev.stamp: requirements-dev.lock .venv/core.stamp
	@echo 'installing the tools for tests and checks into .venv'
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

# The peers bring half a hundred packages of their own; nothing but `make bench` needs them.
.venv-bench/stamp: requirements-bench.lock .venv/python.stamp
	@echo 'installing the peers into .venv-bench'
	@$(BIN)/python -m venv --clear .venv-bench
	@.venv-bench/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements-bench.lock
	@touch $@
