# Both commands make their own environment under .venv/ from nothing but Python 3.11+ (and Java 17+ for `make test`,
# where there is one). Another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
SHELL := /bin/bash

.PHONY: demo test lint clean

demo: .venv/demo/ready  ## Two real tables on the embedded engine: no Java, no Spark to install
	.venv/demo/bin/python conf/nycflights13_tables.py
	.venv/demo/bin/vae-anomaly run --config conf/flights.yaml
	.venv/demo/bin/vae-anomaly run --config conf/weather.yaml

test: .venv/test/ready lint  ## Every test; those of classic Spark where Java 17+ is found
	@.ci/test

lint: .venv/test/ready
	.venv/test/bin/ruff check .
	.venv/test/bin/ruff format --check .
	.venv/test/bin/mypy

.venv/%/ready: pyproject.toml constraints.txt .ci/environment
	@.ci/environment "$(PYTHON)" .venv/$*

clean:  ## Remove what the commands made
	rm -rf .venv data models scored build dist spark-warehouse metastore_db derby.log
