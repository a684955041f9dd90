# make run       set up .venv and run the main job: spec/quickstart.yaml into runs/quickstart
# make test      set up .venv and run the tests
# make paper     the paper from the shipped references: numbers.json and paper.pdf in paper/
# make site      the documentation, and pages to explore the surfaces of the shipped references, in site/
# make package   a wheel and a source distribution in dist/, and the wheel tried
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help run test verify lint bench clean soak lock package paper site image image-test

help:
	@sed -n 's/^# make/make/p' Makefile
	@echo "make verify, lint, bench, soak, lock, image, image-test, clean"

# A stamp per set of packages: the second is the first plus what tests and checks need.
.venv/.run: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tmrepro needs Python 3.11 or newer; name one with PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements-dev.lock .venv/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

run: .venv/.run
	$(BIN)/tmrepro run spec/quickstart.yaml --out runs/quickstart

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

verify: .venv/.run
	$(BIN)/tmrepro verify spec/quickstart.yaml

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

# The wheel comes from the source distribution, and is tried where nothing of the clone is in reach.
package: .venv/.dev
	rm -rf dist
	$(BIN)/python -m build --no-isolation --outdir dist
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target dist/tried dist/tmrepro-*.whl
	cd dist/tried && PYTHONPATH=$$PWD ../../$(BIN)/python -P -m tmrepro spec check quickstart
	rm -rf dist/tried

paper: .venv/.dev
	$(BIN)/python paper/gather.py
	$(BIN)/python paper/build.py

# Warnings are errors, a broken link among them. Then a page for each reference; the quickstart's is of the finished run where there is one.
site: .venv/.dev
	rm -rf site
	$(BIN)/python -m sphinx -E -n -W --keep-going -q -d build/doctrees docs site
	for folder in paper/reference/*; do $(BIN)/tmrepro view $$folder --to site/$$(basename $$folder).html || exit; done
	if [ -f runs/quickstart/manifest-sha256.txt ]; then $(BIN)/tmrepro view runs/quickstart --to site/quickstart.html; fi

bench: .venv/.dev
	$(BIN)/python benchmarks/surface.py runs/quickstart

# The long forms of the tests: hours are fine here; docs/explanation/results.md has the figures.
# With -n 1, pytest's worker starts with the settings of portable determinism. In one process, a plugin loads NumPy before them.
soak: .venv/.dev
	$(BIN)/python -m pytest -n 1 -m "hypothesis and not soak" --hypothesis-profile anew -o timeout=0
	$(BIN)/python -m pytest -n 1 -m soak -o timeout=0 -o addopts="--strict-markers --strict-config -rP --import-mode=importlib"

# The container image of the checked-out commit, and what it promises, tried in it; docs/how-to/container.md.
image:
	docker/build

image-test: image
	TARGET=test IMAGE=$${IMAGE:-tmrepro}-test docker/build
	docker/test

# Both locks from pyproject.toml; the pins are the newest that CI has proven.
lock: .venv/.dev
	printf 'torch==2.14.1\ntorchvision==0.29.1\nzarr==3.1.6\n' > .venv/pins.txt
	$(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -c .venv/pins.txt --extra dev --extra build \
	  pyproject.toml -o requirements-dev.lock > /dev/null
	$(BIN)/uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -c requirements-dev.lock --extra build \
	  pyproject.toml -o requirements.lock > /dev/null

clean:
	rm -rf .venv runs build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
