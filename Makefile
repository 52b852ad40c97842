# Hotdesk: `make demo` runs it here, `make test` proves it, `make lint` reads it.
# HOTDESK_STATE (default .hotdesk) is where the demo keeps everything, HOTDESK_PORT (default 8000) where it listens.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo demo-reset test race chaos bench lint messages packages test-packages browser-packages environment \
  directory-packages compiled-messages

# To run: the hypervisor, Redis, a compiler for libvirt's Python binding, and what Tiny Linux is built of.
PACKAGES := libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils redis-server tini \
  libvirt-dev pkg-config gcc binutils python3 python3-dev python3-venv gettext \
  busybox qemu-guest-agent cpio fdisk mtools syslinux syslinux-common imagemagick fonts-dejavu-core

# To test: a browser, a real SPICE client with a display for it, a proxy and a network for it, PostgreSQL, and what
# a SAML identity provider signs with.
TEST_PACKAGES := chromium fonts-noto-cjk virt-viewer xvfb xauth x11-utils xdotool squid iproute2 postgresql xmlsec1

# For people who sign in with a directory, which is optional: what its client is built of, and a directory to test with.
DIRECTORY_PACKAGES := gcc python3-dev libldap2-dev libsasl2-dev
TEST_PACKAGES += slapd

PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
# What needs the whole of Hotdesk with guests and browsers, in one demo, and mostly waits for them.
DEMO_TESTS := tests/stack tests/browser
# What has hypervisors of its own.
HOST_TESTS := tests/lab tests/drivers tests/load/test_chaos.py tests/load/test_bench.py
# What the database answers in its own way. What is refused before any row is read, who may do what where, and when
# shifts begin and end, is asked once, on SQLite.
CORE_TESTS := tests/operations tests/races tests/access/test_rules.py tests/access/test_lines.py \
    --ignore=tests/operations/test_shifts.py

help:
	echo 'make demo        run Hotdesk on this machine'
	echo 'make demo-reset  stop the demo and forget everything it kept'
	echo 'make test        run all tests, the core ones on PostgreSQL too'
	echo 'make race        everybody at once, in real processes; OPTIONS="--seconds 600 --people 100 --seed 7"'
	echo 'make chaos       kill, freeze and fill up whatever a demo is made of; the same OPTIONS'
	echo 'make bench       measure every budget beside its floor; BENCH=small for a moment'
	echo 'make lint        check style, types, the direction of imports, and for known vulnerabilities'
	echo 'make messages    collect the texts to translate'

demo: packages environment compiled-messages
	$(MAKE) --no-print-directory browser-packages \
	    || echo 'Desktops cannot be opened in the browser: its packages could not be installed. All else works.'
	exec .venv/bin/python manage.py demo

demo-reset:
	state=$${HOTDESK_STATE:-.hotdesk}
	python3 -m broker.lab stop "$$state"
	# Only a folder that a demo made: the variable may point anywhere.
	if [ -e "$$state/lock" ]; then rm -rf -- "$$state"; fi

test: test-packages environment directory-packages browser-packages compiled-messages
	mkdir -p test-results
	echo 'Tests with browsers, and those on PostgreSQL, run beside the others; each says all at its end.'
	# In the background a shell has interrupts ignored; these tests must hear them, to stop what they started.
	env --default-signal=INT .venv/bin/pytest $(DEMO_TESTS) >test-results/demo.log 2>&1 &
	demo=$$!
	# What has no clock of its own gives way to what has: guests boot, and people wait, in real time.
	HOTDESK_TEST_DATABASE=postgresql nice env --default-signal=INT \
	    .venv/bin/pytest $(CORE_TESTS) >test-results/postgresql.log 2>&1 &
	postgresql=$$!
	trap 'kill -INT $$demo $$postgresql 2>/dev/null || true' EXIT
	failed=0
	nice .venv/bin/pytest $(addprefix --ignore=,$(DEMO_TESTS) $(HOST_TESTS)) || failed=1
	wait $$postgresql || failed=1
	postgresql=
	cat test-results/postgresql.log
	.venv/bin/pytest $(HOST_TESTS) || failed=1
	wait $$demo || failed=1
	trap - EXIT
	cat test-results/demo.log
	exit $$failed

race: test-packages environment compiled-messages
	exec .venv/bin/python -m tests.load.race $(OPTIONS)

chaos: test-packages environment compiled-messages
	exec .venv/bin/python -m tests.load.chaos $(OPTIONS)

bench: test-packages environment compiled-messages
	exec .venv/bin/python -m tests.load.bench $(OPTIONS)

lint: packages environment
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy broker
	.venv/bin/lint-imports
	.venv/bin/python .ci/audit.py .requirements.lock
	.venv/bin/python .ci/audit.py .requirements-directory.lock

messages: packages environment
	.venv/bin/python manage.py makemessages --all --no-location

define install_packages
	missing=()
	for package in $(1); do
	    status=$$(dpkg-query -W -f '$${db:Status-Status}' "$$package" 2>/dev/null || true)
	    if [ "$$status" != installed ]; then missing+=("$$package"); fi
	done
	if [ $${#missing[@]} -eq 0 ]; then exit 0; fi
	if [ "$$(id -u)" -ne 0 ]; then
	    echo 'Some Debian packages are missing. Run this, then try again:'
	    echo "sudo apt-get update && sudo apt-get install --yes --no-install-recommends $${missing[*]}"
	    exit 1
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq update
	apt-get -qq install --yes --no-install-recommends "$${missing[@]}"
endef

packages:
	$(call install_packages,$(PACKAGES))

test-packages:
	$(call install_packages,$(PACKAGES) $(TEST_PACKAGES))

# The copy of the lock inside says what is installed.
environment:
	if cmp -s .requirements.lock .venv/requirements.lock; then exit 0; fi
	for python in python3 /usr/bin/python3; do
	    fits='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'
	    if "$$python" -c "$$fits" 2>/dev/null; then break; fi
	    python=
	done
	if [ -z "$$python" ]; then echo 'Hotdesk needs Python 3.11 or newer with venv.'; exit 1; fi
	echo 'Installing Python packages into .venv …'
	"$$python" -m venv .venv
	$(PIP) install -r .requirements.lock
	cp .requirements.lock .venv/requirements.lock

# Nothing else needs it: the demo runs without.
directory-packages: environment
	if cmp -s .requirements-directory.lock .venv/requirements-directory.lock; then exit 0; fi
	( $(call install_packages,$(DIRECTORY_PACKAGES)) )
	$(PIP) install -r .requirements-directory.lock
	cp .requirements-directory.lock .venv/requirements-directory.lock

# What runs in the browser and is not ours, served as it is. The copy of the lock inside says what is there.
browser-packages:
	if cmp -s package-lock.json node_modules/package-lock.json; then exit 0; fi
	if ! command -v npm >/dev/null; then ( $(call install_packages,nodejs npm) ); fi
	echo 'Installing packages of the browser into node_modules …'
	npm ci --ignore-scripts --omit=dev --no-audit --no-fund --loglevel=error
	cp package-lock.json node_modules/package-lock.json

compiled-messages:
	find portal broker -name '*.po' | while read -r texts; do
	    compiled=$${texts%.po}.mo
	    if [ ! "$$compiled" -nt "$$texts" ]; then msgfmt --check-format -o "$$compiled" "$$texts"; fi
	done
