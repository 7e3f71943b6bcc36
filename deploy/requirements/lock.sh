#!/usr/bin/env bash
# Pins every dependency with hashes for all Pythons and platforms; run after a change to
# pyproject.toml. The files name versions and hashes only, never where they come from.
set -euo pipefail
cd "$(dirname "$0")/../.."
compile() {
  "${PYTHON:-.venv/bin/python}" -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links "$@"
}
compile pyproject.toml -o deploy/requirements/runtime.txt
compile pyproject.toml --all-extras --group dev -c deploy/requirements/runtime.txt \
  -o deploy/requirements/dev.txt
