# The two commands of the README are `make demo` and `make test`; the rest is for those who work on
# Tollgate. Everything happens in .venv and in the cache of the embedded stack.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete

.PHONY: setup demo up test check simulate format bench chaos lock clean

setup: $(STAMP)

$(STAMP): deploy/requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tollgate needs Python 3.11 or later; set PYTHON=/path/to/it")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the pinned dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)
	@$(BIN)/python -m services.demo

up: $(STAMP)
	@$(BIN)/tollgate up

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest

# One seed with every decision of it: make simulate SEED=123. Any number: make simulate SEEDS=20000.
simulate: $(STAMP)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000))

# Figures of this machine: tests/bench/README.md. QUICK=1 for under 3 minutes, PARTS=idle,redis for some.
bench: $(STAMP)
	$(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(if $(PARTS),--only $(PARTS))

# For as long as wanted: make chaos CHAOS_SECONDS=600 SEED=1 RATE=500
chaos: $(STAMP)
	$(BIN)/python -m tests.chaos --seconds $(or $(CHAOS_SECONDS),600) --seed $(or $(SEED),1) --rate $(or $(RATE),500)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(STAMP)
	bash deploy/requirements/lock.sh

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
