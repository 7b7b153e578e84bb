# Each target does its own set-up; a second run sets up nothing again.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: demo test quick check setup environments browsers peers clean
.DELETE_ON_ERROR:

setup: $(VENV)/.installed

# PyTorch first and by version: a range would let a dependency choose a build several GB larger.
$(VENV)/.installed: pyproject.toml constraints.txt tools/install_torch.py
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Overtone needs Python 3.11 or newer, this is %d.%d: make setup PYTHON=python3.12" % sys.version_info[:2])'
	@echo "Setting up Overtone in $(VENV). 1 of 4: an environment of its own"
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "2 of 4: PyTorch"
	$(PY) tools/install_torch.py 2.13.0 constraints.txt
	@echo "3 of 4: the other libraries, about 300 MB to download"
	$(PY) -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@echo "4 of 4: compiling the kernels for this processor, about a minute; it is done once"
	$(PY) -m overtone.kernels   # here and now, or else by whoever needs them first
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

# The browsers in which tests/contract runs Google's JavaScript client; root installs what is missing.
browsers:
	@if command -v chromium >/dev/null && command -v firefox-esr >/dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "Installing chromium and firefox-esr for the tests in real browsers (190 MB)"; \
	{ apt-get update -q && apt-get install -q -y --no-install-recommends chromium firefox-esr; } \
	|| echo "they could not be installed: the tests in real browsers will be skipped"; \
	else echo "no chromium or no firefox: the tests in real browsers will be skipped"; fi

# The libraries beside which bench/ measures, each group in an environment of its own.
peers: .envs/peers-train/.installed .envs/peers-engine/.installed

.envs/peers-%/.installed: bench/peers/%.txt
	$(PYTHON) -m venv .envs/peers-$*
	.envs/peers-$*/bin/python -m pip install --quiet --no-compile -r $<
	touch $@

demo: setup
	$(VENV)/bin/overtone demo

test: setup
	$(MAKE) --no-print-directory -j 3 environments browsers
	$(PY) -m pytest
	OVERTONE_TEST_POSTGRES=own $(PY) -m pytest tests/store tests/jobs tests/doors -m "not slow"

quick: setup
	$(PY) -m pytest -m "not slow"

check: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy --explicit-package-bases bench/*.py
	$(VENV)/bin/lint-imports
	$(PY) tools/check_wheel.py

clean:
	rm -rf $(VENV) .envs build *.egg-info .mypy_cache .ruff_cache .pytest_cache
