# Sourced by run.sh and run_tests.sh. Offers `set_up GROUPS…`: after it, $ROOT/.venv holds what uv.lock names.
# Every failure is one sentence on stderr that says what to do.
# shellcheck shell=bash

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
UV_FLOOR=0.13  # older ones cannot read the lock file's relative cool-down

say() { printf '%s\n' "$*" >&2; }
fail() { say "❌ $*"; exit 1; }

# true when version $1 is at least version $2 (two numbers are compared)
at_least() {
  local major minor floor_major floor_minor
  IFS=. read -r major minor _ <<<"$1"
  IFS=. read -r floor_major floor_minor _ <<<"$2"
  [ "$major" -gt "$floor_major" ] || { [ "$major" -eq "$floor_major" ] && [ "$minor" -ge "$floor_minor" ]; }
} 2>/dev/null

usable_uv() {
  local version
  version=$("$1" --version 2>/dev/null | awk '{print $2}') && [ -n "$version" ] && at_least "$version" "$UV_FLOOR"
}

# Sets UV. A uv of our own lives in .tools/uv: nothing is written into anybody's interpreter.
find_uv() {
  local python=$1 candidate
  for candidate in "$(command -v uv 2>/dev/null)" "$ROOT/.tools/uv/bin/uv"; do
    if [ -n "$candidate" ] && usable_uv "$candidate"; then
      UV=$candidate
      return
    fi
  done
  say "⏳ fetching uv (once, into .tools/uv) …"
  local log=$ROOT/.tools/uv.log
  mkdir -p "$ROOT/.tools" && rm -rf "$ROOT/.tools/uv"
  if ! { "$python" -m venv "$ROOT/.tools/uv" && "$ROOT/.tools/uv/bin/python" -m pip install --quiet "uv>=$UV_FLOOR"; } >"$log" 2>&1; then
    rm -rf "$ROOT/.tools/uv"
    fail "uv could not be installed (see .tools/uv.log): install uv $UV_FLOOR or newer from https://docs.astral.sh/uv/ and run this again."
  fi
  UV=$ROOT/.tools/uv/bin/uv
}

# set_up [--no-default-groups …]: arguments go to `uv sync`
set_up() {
  local python bootstrap started=$SECONDS
  python=$("$ROOT/scripts/find_python.sh") || python=
  bootstrap=${python:-$(command -v python3 || true)}
  if [ -z "$bootstrap" ] && ! usable_uv uv; then
    fail "There is no Python on this machine: install Python 3.13 or newer (or uv) and run this again."
  fi
  find_uv "$bootstrap"
  if [ -n "$python" ]; then
    export UV_PYTHON_DOWNLOADS=never
  else
    say "⏳ no Python 3.13 or newer was found here (TOM_PYTHON=/path names one): uv downloads one …"
    python=3.13
  fi
  # A variable of the caller's would make uv write somewhere else, or pick another interpreter.
  unset UV_PYTHON UV_PROJECT_ENVIRONMENT VIRTUAL_ENV
  say "⏳ installing what uv.lock names into .venv …"
  mkdir -p "$ROOT/.tools"
  if ! "$UV" sync --project "$ROOT" --frozen --compile-bytecode --quiet --python "$python" "$@" 2>"$ROOT/.tools/sync.log"; then
    tail -n 5 "$ROOT/.tools/sync.log" >&2
    fail "The packages could not be installed (see .tools/sync.log): check the network or the package index, then run this again."
  fi
  "$VENV/bin/python" -m compileall -q "$ROOT/src/tom" >/dev/null
  say "✅ ready after $((SECONDS - started)) s: $("$VENV/bin/python" --version) in .venv"
}
