# One command each, the same by hand, in hooks and in CI.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEMO   ?= out/demo
TASK   ?= for_while

.NOTPARALLEL:
.PHONY: demo test slow lowest lint types docs bench truth gallery curves release-check clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(STAMP)  ## one circuit, extracted, validated and reported
	rm -rf $(DEMO)
	$(BIN)/circuitkit extract tinypython-nano --task $(TASK) --out $(DEMO)
	$(BIN)/circuitkit validate $(DEMO) || test $$? -eq 1
	@echo "the report:"
	@$(BIN)/circuitkit report $(DEMO)

PYTEST := $(BIN)/pytest -n 2 --dist loadfile --durations=10

test: $(STAMP) lint types  ## lint, types and every law that is quick to try
	$(PYTEST) -m 'not slow'

slow: $(STAMP)  ## the other tests: whole searches, trainings and sessions as a user has them
	$(PYTEST) -m slow

# Old versions warn of each other, so here a DeprecationWarning is no error.
LOWEST := .venv-lowest
LIBRARIES := checkpoints diagram export page report shards statistics study study_plots tables

$(LOWEST)/.installed: pyproject.toml constraints.txt constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet --constraint constraints.txt torch beartype hypothesis pytest
	$(LOWEST)/bin/pip install --quiet --constraint constraints-lowest.txt --editable '.[train,tune]'
	touch $@

lowest: $(LOWEST)/.installed  ## the tests of what other libraries do, with the oldest versions allowed
	$(LOWEST)/bin/pytest --quiet -W ignore::DeprecationWarning $(LIBRARIES:%=tests/test_%.py)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright --pythonpath $(BIN)/python

DOCS := $(VENV)/.docs

$(DOCS): $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

docs: $(DOCS)  ## the site, in out/site: a broken link or a missing reference is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python docs/site/build_site.py

BENCH   := out/bench
BENCHES := training_speed speed end_to_end planted_extraction planted_validation planted_rungs \
	large_model published_shapes minimality seeds extraction_methods tuned ladder

bench: $(BENCHES:%=$(BENCH)/%.txt)  ## the goals, and what came of them; takes hours and can be resumed
	@printf '| what | goal | measured |\n|---|---|---|\n'
	@sed -n 's/^goal: //p' $^

GALLERY := $(wildcard reports/gallery/*/*/circuit.json)
SOURCES := $(wildcard circuitkit/*.py circuitkit/*/*.py)

define measure
@mkdir -p $(@D)
$(BIN)/python $< > $@.part
@mv $@.part $@ && cat $@
endef

$(BENCH)/%.txt: tests/benchmarks/%.py $(SOURCES) $(STAMP)
	$(measure)

$(BENCH)/speed.txt $(BENCH)/minimality.txt $(BENCH)/seeds.txt: $(GALLERY)

truth: $(STAMP)  ## other tools on models whose circuit is known; under an hour, can be resumed
	$(BIN)/python tests/benchmarks/truth/run_peers.py

gallery: $(STAMP)  ## every circuit and verdict of the bundled checkpoints; takes hours
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python reports/make_gallery.py

curves: $(STAMP)  ## docs/training-curves.svg, and two tables of docs/results.md
	$(BIN)/python reports/make_training.py

RELEASE   := out/release
MAX_WHEEL := 12000000

release-check: $(STAMP)  ## the files of a release, checked, installed where nothing else is, and run
	rm -rf $(RELEASE) dist
	$(BIN)/python tests/benchmarks/public_types.py
	$(PYTHON) -m venv $(RELEASE)/tools
	$(RELEASE)/tools/bin/pip install --quiet --constraint constraints.txt build twine
	$(RELEASE)/tools/bin/python -m build --outdir dist
	$(RELEASE)/tools/bin/twine check --strict dist/*
	@for wheel in dist/*.whl; do size=$$(wc -c < $$wheel); echo "$$wheel: $$size bytes"; \
	  test $$size -le $(MAX_WHEEL) || { echo "more than $(MAX_WHEEL)" >&2; exit 1; }; done
	$(PYTHON) -m venv $(RELEASE)/empty
	$(RELEASE)/empty/bin/pip install --quiet --constraint constraints.txt torch
	$(RELEASE)/empty/bin/pip install --quiet --constraint constraints.txt dist/*.whl
	cd $(RELEASE) && empty/bin/circuitkit extract tinypython-nano --task $(TASK) --out demo
	cd $(RELEASE) && empty/bin/circuitkit validate demo || test $$? -eq 1
	cd $(RELEASE) && empty/bin/circuitkit report demo

clean:
	rm -rf $(VENV) out build dist
