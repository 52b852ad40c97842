# Hotdesk: `make demo` runs it here, `make test` proves it, `make lint` reads it.
# HOTDESK_STATE (default .hotdesk) is where the demo keeps everything, HOTDESK_PORT (default 8000) where it listens.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.SILENT:
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help demo demo-reset test lint messages packages test-packages environment compiled-messages

# To run: the hypervisor, Redis, a compiler for libvirt's Python binding, and what Tiny Linux is built of.
PACKAGES := libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils redis-server tini \
  libvirt-dev pkg-config gcc binutils python3 python3-dev python3-venv gettext \
  busybox qemu-guest-agent cpio fdisk mtools syslinux syslinux-common imagemagick fonts-dejavu-core

# To test: a browser, a real SPICE client with a display for it, and PostgreSQL.
TEST_PACKAGES := chromium fonts-noto-cjk virt-viewer xvfb xauth x11-utils xdotool postgresql

PIP := .venv/bin/python -m pip --disable-pip-version-check --quiet
# What the database answers in its own way; who may do what is walked once, on SQLite.
CORE_TESTS := tests/operations tests/races tests/api tests/access \
    --ignore=tests/api/test_schema.py --ignore=tests/access/test_walk.py

help:
	echo 'make demo        run Hotdesk on this machine'
	echo 'make demo-reset  stop the demo and forget everything it kept'
	echo 'make test        run all tests, the core ones on PostgreSQL too'
	echo 'make lint        check style, types, the direction of imports, and for known vulnerabilities'
	echo 'make messages    collect the texts to translate'

demo: packages environment compiled-messages
	exec .venv/bin/python manage.py demo

demo-reset:
	state=$${HOTDESK_STATE:-.hotdesk}
	python3 -m broker.lab stop "$$state"
	# Only a folder that a demo made: the variable may point anywhere.
	if [ -e "$$state/lock" ]; then rm -rf -- "$$state"; fi

test: test-packages environment compiled-messages
	.venv/bin/pytest
	HOTDESK_TEST_DATABASE=postgresql .venv/bin/pytest -q $(CORE_TESTS)

lint: packages environment
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy broker
	.venv/bin/lint-imports
	.venv/bin/python .ci/audit.py .requirements.lock

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

compiled-messages:
	find portal broker -name '*.po' | while read -r texts; do
	    compiled=$${texts%.po}.mo
	    if [ ! "$$compiled" -nt "$$texts" ]; then msgfmt --check-format -o "$$compiled" "$$texts"; fi
	done
