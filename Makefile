# Each target does its own set-up; a second run sets up nothing again.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo test quick check setup environments peers clean
.DELETE_ON_ERROR:

setup: $(VENV)/.installed

# torch first and by version: a range would let a dependency choose a build several GB larger.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet -c constraints.txt torch==2.13.0
	$(PY) -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(PY) -m overtone.engine.kernels   # compiled here and now, or else by whoever needs them first
	$(PY) -m overtone.train.kernels
	touch $@

# Google's published clients, old and new, each in an environment of its own for tests/contract.
CLIENTS := $(basename $(notdir $(wildcard tests/contract/envs/*.txt)))
environments: $(CLIENTS:%=.envs/%/.installed) .envs/javascript/.installed

.envs/%/.installed: tests/contract/envs/%.txt
	$(PYTHON) -m venv .envs/$*
	.envs/$*/bin/python -m pip install --quiet --no-compile -r $<
	touch $@

.envs/javascript/.installed: tests/contract/envs/package.json
	mkdir -p .envs/javascript
	cp $< .envs/javascript/
	if command -v npm >/dev/null; then cd .envs/javascript && npm install --silent --no-audit --no-fund; \
	else echo "no npm: the tests of Google's JavaScript client will be skipped"; fi
	touch $@

# The libraries beside which bench/ measures, each group in an environment of its own.
peers: .envs/peers-train/.installed .envs/peers-engine/.installed

.envs/peers-%/.installed: bench/peers/%.txt
	$(PYTHON) -m venv .envs/peers-$*
	.envs/peers-$*/bin/python -m pip install --quiet --no-compile -r $<
	touch $@

demo: setup
	$(VENV)/bin/overtone demo

test: setup
	$(MAKE) --no-print-directory -j 3 environments
	$(PY) -m pytest

quick: setup
	$(PY) -m pytest -m "not slow"

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

clean:
	rm -rf $(VENV) .envs build *.egg-info .mypy_cache .ruff_cache .pytest_cache
