# Everything here runs from the checkout with relative paths, so that its path may contain spaces.
# The first target that needs it creates .venv from the hash-pinned requirements (deploy/bootstrap/setup.sh).

.DEFAULT_GOAL := help
.PHONY: help run distributed test test-stack test-all bench bench-compare sweep fuzz lint lock migration clean setup setup-tests
MAKEFLAGS += --no-print-directory

py := .venv/bin/python
began := $(shell date +%s)
# Two processes: the tests of a file share their fixtures, so they run in the same one. JOBS=0 uses none, to debug.
# tests/conftest.py orders the files, and not by their number of tests: a file with few tests may take longest.
pytest = $(py) -m pytest -n $(or $(JOBS),2) --dist loadfile --no-loadscope-reorder

# Packages that only some models need: EXTRAS=boosters installs deploy/extras/boosters/requirements.txt as well.
extras = $(EXTRAS:%=deploy/extras/%/requirements.txt)

help: ## this list
	@printf 'Sluice. Targets:\n'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22
	@printf 'PYTHON=/path/to/python3.12 chooses the interpreter of .venv; README.md has the details.\n'
	@printf 'EXTRAS=boosters installs XGBoost, LightGBM and CatBoost as well; docs/how-to/boosters.md.\n'

run: setup ## start the stack, train, score and serve until Ctrl-C (ONCE=1: exit after the summary)
	@$(py) -m deploy.local_stack --began $(began) $(if $(filter-out 0,$(ONCE)),--once)

distributed: setup ## two Celery workers and a broker beside it all, one partition in 8 shards across both (ONCE=1)
	@deploy/bootstrap/program.sh redis-server "the broker between Airflow and its workers" "make distributed" redis
	@$(py) -m deploy.local_stack --distributed --began $(began) $(if $(filter-out 0,$(ONCE)),--once)

test: setup-tests ## the tests, without the slow ones
	@$(pytest) -m "not slow"

# Tests that start a whole stack run alone: in parallel with other tests, its tasks take ten times as long, and Airflow
# uses the CPU even while it waits.
test-stack: setup-tests ## the end-to-end tests that share one stack: that of E2E_STACK, or a new one
	@$(py) -m pytest tests/e2e --ignore tests/e2e/private

# Three kinds of slow test need a system program, and report that they are skipped without it: the model card is tested in
# a browser, the workers of `make distributed` need a broker, and alerts run on a real Prometheus.
test-all: test ## all tests: these, the slow ones, and every whole stack; up to an hour on a slow machine
	@for program in chromium redis-server prometheus prometheus-alertmanager; do \
	  deploy/bootstrap/program.sh $$program "needed by a slow test" "make test-all" || \
	    echo "$$program is not installed: its slow tests will be SKIPPED" >&2; \
	done
	@code=0; $(pytest) -m slow --ignore tests/e2e || code=1; \
	for part in "tests/e2e --ignore tests/e2e/private" tests/e2e/private; do $(py) -m pytest $$part || code=1; done; exit $$code

bench: setup-tests ## the benchmarks, one after the other
	@deploy/bootstrap/program.sh wrk "the load of the serving benchmark" "make bench"
	@missed=; for file in benchmarks/*.py; do \
	  echo "== $$file"; $(py) "$$file" || missed="$$missed $$file"; \
	done; [ -z "$$missed" ] || { echo "bench: a target was missed, or a benchmark failed:$$missed" >&2; exit 1; }

bench-compare: setup-tests ## another revision beside this checkout, in one run: make bench-compare BASE=REVISION
	@deploy/bootstrap/program.sh wrk "the load of the serving benchmark" "make bench-compare"
	@$(py) benchmarks/revisions --base "$(or $(BASE),$(error name a revision: make bench-compare BASE=HEAD~1))" $(COMPARE)

sweep: setup-tests ## every estimator of scikit-learn against its own answers; continues what was interrupted
	@$(py) -m tests.sweep --write-docs $(SWEEP)

# Atheris guides it by coverage; where it has no wheel, the fuzzer looks at the kinds of responses only.
fuzz: setup-tests ## fuzz every parser of the service: make fuzz SECONDS=3600
	@.venv/bin/uv pip install --python $(py) -q --require-hashes --no-deps -r tests/fuzz/requirements.txt || \
	  echo "fuzz: Atheris cannot be installed here; continuing without it" >&2
	@$(py) -m tests.fuzz --seconds $(or $(SECONDS),3600)

lint: setup-tests ## style, types, import contracts, Dockerfile, compose file, YAML
	@deploy/bootstrap/lint.sh

lock: setup-tests ## pin the newest versions that the requirements.in files allow
	@for folder in . tests tests/fuzz model_service deploy/bootstrap deploy/helm deploy/extras/*; do \
	  echo "== $$folder/requirements.txt"; \
	  (up=$$PWD && cd "$$folder" && "$$up/.venv/bin/uv" pip compile requirements.in --upgrade --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-emit-find-links -q -o requirements.txt) || exit 1; \
	done

migration: setup ## create a database migration: make migration NAME=add_label_source
	@$(py) -m include.warehouse.migrations.new "$(NAME)"

clean: ## stop running processes and remove .venv and .sluice
	@deploy/bootstrap/clean.sh

setup: ## .venv, with all that Sluice needs
	@deploy/bootstrap/setup.sh $(extras)

setup-tests:
	@deploy/bootstrap/setup.sh tests/requirements.txt $(extras)
