# Each target is also a plain command; `make -n TARGET` shows it.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# Where PyTorch comes from: an index or a folder of wheels, such as those for CPUs alone, without CUDA's 4 GB. Empty: from
# where everything comes. An environment remembers what it was made with.
TORCH_INDEX ?= $(shell cat $(VENV)/.torch-index 2>/dev/null)
TORCH := ^torch(vision)?==
CUDA := ^(nvidia-|cuda-|triton==)
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
ifeq ($(TORCH_INDEX),)
locked = $(PIP) -r $(1)
else
FROM := $(shell test -d "$(TORCH_INDEX)" && echo --no-index --find-links || echo --index-url) "$(TORCH_INDEX)"
locked = $(PIP) --no-deps $(FROM) $$(grep -E '$(TORCH)' $(1)) && echo "$(TORCH_INDEX)" > $(VENV)/.torch-index \
	&& grep -vE '$(TORCH)|$(CUDA)' $(1) > $(VENV)/.locked && $(PIP) -r $(VENV)/.locked
endif

TIMES := --durations=0 --durations-min=1

.DEFAULT_GOAL := help
# Without the name of a place in it, an environment is moved and copied with its project; again after each `pip install`.
HERE = test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); $(BIN)/python infra/portable.py $(VENV)

.PHONY: help setup here run ui wheel test test-slow test-slice test-browser fuzz lint format references docs lock bench clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: here  ## the environment, with the locked libraries (TORCH_INDEX=URL or FOLDER: PyTorch from there, without CUDA)

here: $(VENV)/.installed
	@$(HERE)

run: setup  ## the default recipe, from raw images to a staged int8 network (ARGS="--recipe digits" for another)
	$(BIN)/convoy run $(ARGS)

ui: setup  ## the web UIs on loopback: MLflow, Prefect, Evidently, and an overview
	$(BIN)/convoy ui $(ARGS)

wheel: setup  ## the package, to be installed elsewhere: dist/convoy_cnn-….whl
	rm -rf build
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation -w dist .

test: here $(VENV)/.installed-dev  ## the test suite
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

test-slow: here $(VENV)/.installed-dev  ## the tests that take longer than the suite allows
	$(BIN)/python -m pytest -m slow $(TIMES) $(ARGS)

test-slice: here $(VENV)/.installed-dev  ## twenty minutes of those: SLICE=NUMBER, by default the slice whose turn it is
	files=$$($(BIN)/python -m tests.slices $(SLICE)) && $(BIN)/python -m pytest -m slow $(TIMES) $(ARGS) $$files

test-browser: here $(VENV)/.installed-dev  ## the web UIs, looked at with the system's Chromium (CONVOY_PICTURES=FOLDER keeps pictures)
	$(BIN)/python -m pytest -m slow tests/flows/test_browser.py $(ARGS)

fuzz: here $(VENV)/.installed-fuzz  ## coverage-guided fuzzing of every reader (ARGS="zip --seconds 600")
	$(BIN)/python -m tests.fuzzing $(ARGS)

lint: here $(VENV)/.installed-dev  ## style, types, the import contract, the container files, and docs/reference
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python infra/check.py
	$(BIN)/python -m infra.references --check

format: here $(VENV)/.installed-dev  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

references: here $(VENV)/.installed-dev  ## write docs/reference from the code
	$(BIN)/python -m infra.references

docs: here $(VENV)/.installed-docs  ## the documentation as a site in .site/html; a warning is an error
	$(BIN)/python -m infra.website

bench: setup  ## the benchmarks, one after the other; nothing else should run meanwhile
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.inference
	$(BIN)/python -m benchmarks.line

lock:  ## resolve pyproject.toml again (needs uv)
	uv pip compile --python-version 3.11 --no-annotate --no-header --no-emit-index-url \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	uv pip compile --python-version 3.11 --no-annotate --no-header --no-emit-index-url --extra dev \
	  -c requirements.lock pyproject.toml -o requirements-dev.lock
	uv pip compile --python-version 3.11 --no-annotate --no-header --no-emit-index-url --extra dev --extra fuzz \
	  -c requirements-dev.lock pyproject.toml -o requirements-fuzz.lock
	grep -vxFf requirements-dev.lock requirements-fuzz.lock > requirements-fuzz.lock.new  # what the others have not
	mv requirements-fuzz.lock.new requirements-fuzz.lock
	uv pip compile --python-version 3.11 --no-annotate --no-header --no-emit-index-url --extra dev --extra docs \
	  -c requirements-dev.lock pyproject.toml -o requirements-docs.lock
	grep -vxFf requirements-dev.lock requirements-docs.lock > requirements-docs.lock.new
	mv requirements-docs.lock.new requirements-docs.lock

clean:  ## remove the environment; data, models and runs stay
	rm -rf $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(call locked,requirements.lock)
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(call locked,requirements-dev.lock)
	touch $@

$(VENV)/.installed-fuzz: $(VENV)/.installed-dev requirements-fuzz.lock
	$(PIP) --no-deps -r requirements-fuzz.lock
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed-dev requirements-docs.lock
	$(PIP) --no-deps -r requirements-docs.lock
	touch $@
