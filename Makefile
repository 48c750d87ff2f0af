# Every target sets up .venv first, on a machine with Python 3.11 or newer and make; the second time that takes no time.
PYTHON ?= python3
BIN := .venv/bin
# Tests start many processes: what one of them has compiled, the next ones need not.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test trials check bench up lock clean

help:
	@echo "make demo   the sample tickets through the embedded model, up to the gate"
	@echo "make test   the tests"
	@echo "make trials the trials at full length, with what they measured: 40 minutes"
	@echo "make check  lint, types, contracts and the tests"
	@echo "make bench  the figures of benchmarks/"
	@echo "make up     Prefect's server, UI, worker and the nightly deployments"
	@echo "make lock   requirements.lock anew from pyproject.toml"

demo: .venv/.stamp
	$(BIN)/overnight run triage_tickets
	@echo "Read them and decide: $(BIN)/overnight review"

# Three lines at once: most of the acceptance tests' time is waiting for servers and a browser, and who waits goes first,
# so that nothing times out on a busy machine. The output of the others follows.
define run_tests
	@mkdir -p .cache; \
	nice -n 15 $(BIN)/pytest -q tests/unit > .cache/unit-tests.log 2>&1 & unit=$$!; \
	nice $(BIN)/pytest -q tests/trials tests/flows > .cache/nights.log 2>&1 & nights=$$!; \
	$(BIN)/pytest tests/acceptance; failed=$$?; \
	wait $$unit || failed=1; wait $$nights || failed=1; \
	cat .cache/unit-tests.log .cache/nights.log; exit $$failed
endef

test: .venv/.stamp
	$(run_tests)

trials: .venv/.stamp
	OVERNIGHT_TRIALS=long $(BIN)/pytest tests/trials --timeout 1800

check: .venv/.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(run_tests)

bench: .venv/.stamp
	$(BIN)/python -m benchmarks

up: .venv/.stamp
	$(BIN)/overnight up

.venv/.stamp: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "overnight needs Python 3.11 or newer; say which with make PYTHON=...")'
	$(PYTHON) -m venv .venv
	@# uv is quick; where it cannot be had, pip does the same.
	$(BIN)/pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[^ ]*' requirements.lock)" || true
	$(BIN)/uv pip install --quiet --compile-bytecode --no-deps --require-hashes -r requirements.lock \
	  || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock: .venv/.stamp
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --all-extras --group dev pyproject.toml --output-file requirements.lock

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
