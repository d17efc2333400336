# Everything here runs from the checkout with relative paths, so that the path may hold spaces.
# The first target that needs it makes .venv from the hash-pinned requirements (deploy/bootstrap/setup.sh).

.DEFAULT_GOAL := help
.PHONY: help run distributed test test-stack test-all bench lint lock migration clean setup setup-tests
MAKEFLAGS += --no-print-directory

py := .venv/bin/python
began := $(shell date +%s)
# Two processes: the tests of a file share what they set up, and stay in one. JOBS=0 runs all in this one, to debug in.
# The order of files is tests/conftest.py's, not that of their number of tests: a file of few tests may take longest.
pytest = $(py) -m pytest -n $(or $(JOBS),2) --dist loadfile --no-loadscope-reorder

help: ## this list
	@printf 'Sluice. Targets:\n'
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20
	@printf 'PYTHON=/path/to/python3.12 chooses the interpreter of .venv; README.md says the rest.\n'

run: setup ## start everything, train, score, serve; stays up until Ctrl-C (ONCE=1: exits after the summary)
	@$(py) -m deploy.local_stack --began $(began) $(if $(filter-out 0,$(ONCE)),--once)

distributed: setup ## two Celery workers and a broker beside it all, one partition in 8 shards across both (ONCE=1)
	@deploy/bootstrap/program.sh redis-server "the broker between Airflow and its workers" "make distributed" redis
	@$(py) -m deploy.local_stack --distributed --began $(began) $(if $(filter-out 0,$(ONCE)),--once)

test: setup-tests ## the tests, without the slow ones
	@$(pytest) -m "not slow"

# What starts a whole stack runs alone: beside other work its tasks take ten times as long, and what Airflow spends while
# it waits makes both slower than one after the other.
test-stack: setup-tests ## the end-to-end tests that share one stack: the one that E2E_STACK names, or one of their own
	@$(py) -m pytest tests/e2e --ignore tests/e2e/private

# Two kinds of slow test want a program of the system, and say loudly when they are skipped without it: the model card
# is looked at in a browser, and the workers of `make distributed` are told what to do by a broker.
test-all: test ## all tests: these, the slow ones, and every whole stack; most of an hour on a slow machine
	@for program in chromium redis-server; do \
	  deploy/bootstrap/program.sh $$program "which a slow test wants" "make test-all" || \
	    echo "there is no $$program: its slow tests will be SKIPPED" >&2; \
	done
	@code=0; $(pytest) -m slow --ignore tests/e2e || code=1; \
	for part in "tests/e2e --ignore tests/e2e/private" tests/e2e/private; do $(py) -m pytest $$part || code=1; done; exit $$code

bench: setup-tests ## the benchmarks, one after the other
	@deploy/bootstrap/program.sh wrk "the load of the serving benchmark" "make bench"
	@missed=; for file in benchmarks/*.py; do \
	  echo "== $$file"; $(py) "$$file" || missed="$$missed $$file"; \
	done; [ -z "$$missed" ] || { echo "bench: a target was missed, or a benchmark failed:$$missed" >&2; exit 1; }

lint: setup-tests ## style, types, import contracts, Dockerfile, compose file, YAML
	@deploy/bootstrap/lint.sh

lock: setup-tests ## pin the newest versions that the *.in files allow
	@for folder in . tests model_service deploy/bootstrap deploy/helm; do \
	  echo "== $$folder/requirements.txt"; \
	  (up=$$PWD && cd "$$folder" && "$$up/.venv/bin/uv" pip compile requirements.in --upgrade --universal --python-version 3.11 \
	    --generate-hashes --no-emit-index-url --no-emit-find-links -q -o requirements.txt) || exit 1; \
	done

migration: setup ## a new change of the database: make migration NAME=add_label_source
	@$(py) -m include.warehouse.migrations.new "$(NAME)"

clean: ## stop what runs from here and remove all that make made
	@deploy/bootstrap/clean.sh

setup:
	@deploy/bootstrap/setup.sh

setup-tests:
	@deploy/bootstrap/setup.sh tests/requirements.txt
