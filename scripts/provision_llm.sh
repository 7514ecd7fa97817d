#!/usr/bin/env bash
# Installs the command-line program `llm` into an environment of its own, .tools/llm, in the versions and with the hashes
# of tests/suites/openai/requirements.txt. Idempotent. Wheels only: nothing of a package is run while installing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

LOCKED=tests/suites/openai/requirements.txt
TARGET=.tools/llm

if cmp -s "$LOCKED" "$TARGET/installed.txt"; then
  exit 0
fi

echo "⏳ installing llm from the Python package index (once) …" >&2
rm -rf "$TARGET"
.venv/bin/python -m venv --without-pip "$TARGET"
for uv in "$(command -v uv || true)" .tools/uv/bin/uv; do
  if [ -x "$uv" ]; then
    "$uv" pip install --quiet --no-config --no-deps --require-hashes --only-binary :all: \
      --python "$TARGET/bin/python" --requirement "$LOCKED" >&2
    cp "$LOCKED" "$TARGET/installed.txt"
    exit 0
  fi
done
echo "⚠️ uv was not found: ./run_tests.sh brings one into .tools/uv" >&2
exit 1
