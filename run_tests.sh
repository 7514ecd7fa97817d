#!/usr/bin/env bash
# Sets up and runs the tests:
#   ./run_tests.sh              all tiers but the long proofs; prints a summary of tiers and times
#   ./run_tests.sh --fast       checks, kernel and fast tests only
#   ./run_tests.sh --trust      all tiers and the long proofs (half an hour more)
#   ./run_tests.sh ARGS …       sets up, then runs pytest with these arguments
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/setup.sh"
cd "$ROOT"

case "${1:-}" in
  -h | --help) sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
set_up
if [ "${1:-}" != --fast ]; then
  scripts/provision.sh
fi
case "${1:-}" in
  "" | --fast | --trust) exec "$VENV/bin/python" scripts/tiers.py "$@" ;;
  *) exec "$VENV/bin/python" -m pytest "$@" ;;
esac
