# The commands of every day. `make demo` and `make test` set up what is missing, and take seconds the second time.

.PHONY: help demo test test-quick lint format lock clean

help:
	@echo "make demo        set up, and run the main job: an agent mends a package in a sandbox"
	@echo "make test        set up, check the code, run the tests; LONG=1 the long ones as well, as CI does"
	@echo "make test-quick  the tests that need no engine and little time"
	@echo "make lint        ruff, mypy, import-linter, shellcheck"
	@echo "make format      let ruff format the code and mend what it can"
	@echo "make lock        lock the requirements again"
	@echo "make clean       remove .venv, caches and build results"
	@echo
	@echo "YES=1 answers the questions of demo and test with yes; PYTHON=… names the interpreter for .venv."

demo:
	@scripts/demo.sh

# PAIRLOCK_STDERR: .ci/run keeps make's own messages apart from the recipe's.
test:
	@scripts/test.sh 2>&$${PAIRLOCK_STDERR:-2}

test-quick:
	@scripts/environment.sh dev
	@.venv/bin/python -m pytest -n 2 -m "not engine and not gvisor and not long"

lint:
	@scripts/environment.sh dev
	@scripts/lint.sh

format:
	@scripts/environment.sh dev
	@.venv/bin/ruff check --quiet --fix . || true
	@.venv/bin/ruff format --quiet .

lock:
	@scripts/environment.sh dev
	@scripts/lock.sh

clean:
	@rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
