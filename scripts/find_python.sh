#!/usr/bin/env bash
# Prints the path of the first Python that can run Tom: 3.13 or newer, with TLS and venv.
# Looks at $TOM_PYTHON, the PATH, version managers and the usual folders. Exit status 1: there is none.
set -u

fits() {
  "$1" -I -c 'import sys, ssl, venv; sys.exit(sys.version_info < (3, 13))' >/dev/null 2>&1
}

# A version manager's shim answers only for the version chosen in a folder: what is wanted is the program behind it.
# The same goes for an activated virtual environment.
real() {
  "$1" -I -c 'import sys; print(sys._base_executable or sys.executable)' 2>/dev/null
}

candidates() {
  [ -n "${TOM_PYTHON:-}" ] && echo "$TOM_PYTHON"
  for name in python3.15 python3.14 python3.13 python3; do
    type -aP "$name" 2>/dev/null
  done
  for folder in "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/3.1[3-9]*/bin \
    /usr/local/bin /opt/python*/bin /opt/homebrew/bin \
    "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-${HOME:-/nonexistent}/.local/share}/uv/python}"/*/bin; do
    for name in python3.15 python3.14 python3.13 python3; do
      [ -x "$folder/$name" ] && echo "$folder/$name"
    done
  done
}

while IFS= read -r candidate; do
  if fits "$candidate"; then
    real "$candidate"
    exit 0
  fi
done < <(candidates)
exit 1
