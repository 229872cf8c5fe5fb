# Everything a person does here, by name. `make help` lists it.
#
# `make demo` and `make test` need git, make and Python 3.11 or newer; they set up the rest by
# themselves in .venv/<version>. Choose another Python with `make test PYTHON=python3.12`.

PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	command -v $$name >/dev/null 2>&1 \
	&& $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo $$name; break; }; done)

ifeq ($(strip $(PYTHON)),)
$(error logship needs Python 3.11 or newer with the venv module, and none was found on PATH. \
Install one, or name it: make test PYTHON=/path/to/python3.11)
endif

VERSION := $(shell $(PYTHON) -c 'import sys, sysconfig; print("%d.%d%s" % (*sys.version_info[:2], \
	"t" * bool(sysconfig.get_config_var("Py_GIL_DISABLED"))))' 2>/dev/null)
VENV := .venv/$(VERSION)
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
SMOKE_READY := $(VENV)/.ready-for-smoke
MUTANTS_READY := $(VENV)/.ready-for-mutants
# What depends on the interpreter: signals, exits, forks, threads, contexts.
SMOKE := $(wildcard tests/storms) $(addprefix tests/process/test_,dispositions.py fork.py handlers.py \
	interpreters.py interrupts.py multiprocessing.py random_stops.py reentrancy.py) \
	$(addprefix tests/unit/test_background,.py _senders.py)
STANDALONE := .venv/standalone-$(VERSION)
DOCS := .venv/docs-$(VERSION)
DOCS_READY := $(DOCS)/.ready
FUZZ := .venv/fuzz-$(VERSION)
FUZZ_READY := $(FUZZ)/.ready
MINUTES ?= 5
TARGET ?= all
DIST ?= dist
MUTANTS ?= out/mutants
# What is imported is compiled then; most of what is installed never is.
PIP_INSTALL := bin/pip install --quiet --disable-pip-version-check --no-compile
# What builds and tests this package has hashes in requirements/; the tools of `bill-of-materials`, `lock` and
# `vulnerabilities` have none.
HASHED := $(PIP_INSTALL) --require-hashes -r
THIS := $(PIP_INSTALL) --no-deps --no-build-isolation
PIP_COMPILE := .venv/lock/bin/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host
SEEDS ?= 2000
RECORDS ?= 1000000
WORKERS ?= 6
MARKS ?= not proof
# A test that takes so long hangs: it is ended, and counts as failed.
PYTEST := $(RUN) -m pytest -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true \
	-o cache_dir=$(VENV)/pytest

# What reaches every branch of the buffer, delivery and the protocol. One process: threads are measured,
# processes that tests start are not, nor what `sys.settrace` interrupts at each bytecode.
COVERED := tests/protocol tests/unit --ignore tests/unit/test_buffer_interrupted.py \
	$(addprefix tests/contract/test_,tls.py handshake.py) \
	tests/simulation/test_simulation.py::test_histories_keep_the_promise

.PHONY: help ready demo test test-again coverage mutants smoke-ready smoke smoke-again sim storm fuzz faults \
	soak aggregators reconnects interleavings lint format docs proof standalone packages release-check \
	bill-of-materials lock vulnerabilities clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	"logship needs Python 3.11 or newer; $(PYTHON) is %d.%d. Try: make test PYTHON=python3.11" % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/$(HASHED) requirements/dev.txt
	$(VENV)/$(THIS) --editable .
	@touch $@

# A test run has several workers: without this, each of them would compile every test.
ready: $(READY)
	$(PYTEST) --collect-only --quiet -m "$(MARKS)" >/dev/null

demo: $(READY) ## two or three minutes: logship beside fluent-logger while a sidecar lives, restarts, dies
	$(RUN) -m benchmarks demo

test: $(READY) ## every test; root, Docker and sidecars are used if they are found
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "$(MARKS)"

test-again: $(READY) ## only the tests that failed last time, one after the other
	$(PYTEST) -n 0 -m "$(MARKS)" --last-failed --last-failed-no-failures none

coverage: $(READY) ## every branch of the buffer, delivery and the protocol is run; fails below 100 %
	rm -rf out/coverage
	COVERAGE_FILE=out/coverage/data $(RUN) -m coverage run -m pytest -n 0 $(COVERED)
	COVERAGE_FILE=out/coverage/data $(RUN) -m coverage combine --quiet
	COVERAGE_FILE=out/coverage/data $(RUN) -m coverage report

# Without dependencies: all are listed, but for pyyaml-ft, which libcst asks for on 3.13 and can do without.
$(MUTANTS_READY): requirements/mutants.txt $(READY)
	$(VENV)/$(HASHED) requirements/mutants.txt --no-deps
	@touch $@

mutants: export PATH := $(abspath $(VENV)/bin):$(PATH)
mutants: $(MUTANTS_READY) ## mistakes put into a copy of the buffer, which tests or mypy must find; about 20 minutes
	rm -rf $(MUTANTS)
	mkdir -p $(MUTANTS)
	git ls-files -z --cached --others --exclude-standard | xargs -0 cp -p --parents -t $(MUTANTS)
	cd $(MUTANTS) && nice -n 10 mutmut run --max-children 1 > run.txt
	$(RUN) -m tests.mutants $(MUTANTS)

$(SMOKE_READY): pyproject.toml requirements/smoke.txt
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(VENV)/$(HASHED) requirements/smoke.txt
	$(VENV)/$(THIS) --editable .
	@touch $@

smoke-ready: $(SMOKE_READY)

smoke: $(SMOKE_READY) ## the tests that depend on the interpreter, also on a free-threaded one
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "$(MARKS) and not any_python" $(SMOKE)

smoke-again: $(SMOKE_READY) ## only the smoke tests that failed last time, one after the other
	$(PYTEST) -n 0 -m "$(MARKS) and not any_python" --last-failed --last-failed-no-failures none $(SMOKE)

sim: $(READY) ## SEEDS=2000 simulated histories on a faulty network; SEED=7 prints one in full
	$(RUN) -m tests.simulation --seeds $(SEEDS) $(if $(SEED),--seed $(SEED))

storm: $(SMOKE_READY) ## RECORDS=1000000 logged while signal handlers raise, tracers come and go, processes fork; SEED=7
	$(RUN) -m tests.storms --records $(RECORDS) $(if $(SEED),--seed $(SEED))

# atheris has no wheels above 3.13, nor for free-threaded builds: there hypothesis searches alone.
$(FUZZ_READY): pyproject.toml requirements/dev.txt requirements/fuzz.txt
	$(PYTHON) -m venv --clear $(FUZZ)
	$(FUZZ)/$(HASHED) requirements/dev.txt
	$(FUZZ)/$(THIS) --editable .
	$(FUZZ)/$(HASHED) requirements/fuzz.txt --only-binary :all: || echo "no atheris for this Python"
	@touch $@

fuzz: $(FUZZ_READY) ## MINUTES=5 of hostile input for the code that reads it; TARGET=audit, or all of them in turn
	$(FUZZ)/bin/python -m tests.fuzz --minutes $(MINUTES) --target $(TARGET)

faults: $(READY) ## each call into the system fails in turn, in each component: some 2,600 cases; SEED=7
	$(RUN) -m tests.faults --workers $(WORKERS) $(if $(SEED),--seed $(SEED))

soak: $(READY) ## MINUTES=5 of everything at once: what grows, and is a record missing at the end? SEED=7
	$(RUN) -m tests.soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

aggregators: $(READY) ## MINUTES=10 for each kind of tier: two aggregators are killed and cut off; nothing is lost; SEED=7
	$(RUN) -m tests.aggregators --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

reconnects: $(READY) ## ten thousand simulated tasks connect again: how long it takes, and whether in waves; SEED=7
	$(RUN) -m tests.reconnects $(if $(SEED),--seed $(SEED))

interleavings: $(READY) ## every interleaving of two producers and a closer, up to three preemptions
	$(RUN) -m tests.interleavings

lint: $(READY) ## ruff and mypy, as CI runs them
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(READY) ## format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

$(DOCS_READY): pyproject.toml requirements/docs.txt
	$(PYTHON) -m venv --clear $(DOCS)
	$(DOCS)/$(HASHED) requirements/docs.txt
	$(DOCS)/$(THIS) --editable .
	@touch $@

docs: $(DOCS_READY) ## out/site/: the documentation, for a browser without a network; a broken link is an error
	$(DOCS)/bin/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going -c docs . out/site

proof: $(READY) ## the loss matrix and the lifecycle tests with full counts; writes benchmarks/results/proof.json
	$(RUN) -m benchmarks proof --json benchmarks/results/proof.json
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal -m proof

standalone: ## dist/logship/: the command with its own Python, for images without one
	$(PYTHON) -m venv --clear $(STANDALONE)
	$(STANDALONE)/$(HASHED) requirements/standalone.txt
	$(STANDALONE)/$(THIS) .
	$(STANDALONE)/bin/python standalone/build.py --out $(DIST)

packages: $(READY) ## dist/: the wheel and the source; LOGSHIP_HOME_URL is the project's address in them
	rm -rf $(DIST)/*.whl $(DIST)/logship_forward-*.tar.gz
	$(RUN) -m hatchling build -d $(DIST)

release-check: ## TAG=v0.1.0: whether tag, version and changelog agree
	@version=$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' logship/_version.py); \
	test "$(TAG)" = "v$$version" || { echo "the tag is $(TAG), and logship/_version.py says $$version"; exit 1; }; \
	grep -q "^## $$version (20" CHANGELOG.md || { echo "CHANGELOG.md has no dated heading for $$version"; exit 1; }

bill-of-materials: ## dist/logship.cdx.json: what `make standalone` has put into its build, as CycloneDX
	$(PYTHON) -m venv --clear .venv/bill
	.venv/bill/$(PIP_INSTALL) cyclonedx-bom
	.venv/bill/bin/cyclonedx-py environment $(STANDALONE) --pyproject pyproject.toml \
		--output-reproducible --of JSON -o $(DIST)/logship.cdx.json

lock: ## resolve requirements/*.in again into requirements/*.txt
	$(PYTHON) -m venv --clear .venv/lock
	.venv/lock/bin/pip install --quiet --disable-pip-version-check pip-tools
	for name in dev smoke standalone docs; do \
		$(PIP_COMPILE) --output-file requirements/$$name.txt pyproject.toml requirements/$$name.in || exit; \
	done
	$(PIP_COMPILE) --output-file requirements/fuzz.txt requirements/fuzz.in
	$(PIP_COMPILE) --output-file requirements/mutants.txt requirements/mutants.in

vulnerabilities: ## known vulnerabilities of the pinned packages: pip-audit asks an online database
	$(PYTHON) -m venv --clear .venv/vulnerabilities
	.venv/vulnerabilities/$(PIP_INSTALL) pip-audit
	for name in dev standalone docs; do \
		.venv/vulnerabilities/bin/pip-audit --strict --require-hashes --disable-pip -r requirements/$$name.txt || exit; \
	done

clean: ## remove what the targets above made
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis out dist
