#!/usr/bin/env bash
# Installs Autobahn's test suite into an environment of its own, .tools/autobahn, in the versions and with the hashes of
# tests/suites/autobahn/requirements.txt. It runs on Python 2.7 only, which is looked for as `python2.7`, as $TOM_PYTHON2
# and in pyenv's folder. Idempotent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

LOCKED=tests/suites/autobahn/requirements.txt
TARGET=.tools/autobahn

if cmp -s "$LOCKED" "$TARGET/installed.txt"; then
  exit 0
fi

PYTHON2=
for candidate in "${TOM_PYTHON2:-}" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7 \
  $(getent passwd "$(id -u)" | cut -d: -f6)/.pyenv/versions/2.7*/bin/python2.7 "$(command -v python2.7 || true)"; do
  if [ -n "$candidate" ] && [ -x "$candidate" ] && "$candidate" -c 'import ssl, sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
    PYTHON2=$candidate
    break
  fi
done
if [ -z "$PYTHON2" ]; then
  echo "⚠️ Autobahn's suite runs on Python 2.7 only: TOM_PYTHON2=/path names one" >&2
  exit 1
fi

echo "⏳ installing Autobahn's test suite from the Python package index (once) …" >&2
rm -rf "$TARGET"
mkdir -p "$TARGET"
.venv/bin/python -m venv "$TARGET/maker"
"$TARGET/maker/bin/python" -m pip install --quiet --disable-pip-version-check "virtualenv==20.21.1" >&2
"$TARGET/maker/bin/virtualenv" --quiet --no-download --python "$PYTHON2" "$TARGET/python" >&2
# Some of these packages have no wheel and are built here; the hashes say what of.
"$TARGET/python/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
  --requirement "$LOCKED" >"$TARGET/install.log" 2>&1
cp "$LOCKED" "$TARGET/installed.txt"
