#!/usr/bin/env bash
# Sets Tom up and starts it:
#   ./run.sh [options of `tom up`]    gateway and one agent per person, on https://localhost:8443 (443 for root)
#   ./run.sh chat [options]           one agent alone, without logins, on ws://localhost:8000/ws/chat
# The data directory is ./data beside this file, or $TOM_DATA. No key, database, Docker or Node is needed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/scripts/setup.sh"

case "${1:-}" in
  -h | --help) sed -n '2,5s/^# //p' "${BASH_SOURCE[0]}"; exit 0 ;;
  chat | agent) shift; what=(agent --standalone) other="./run.sh starts gateway and agents, with logins" ;;
  "" | -*) what=(up) other="./run.sh chat starts one agent alone, without logins" ;;
  *) fail "'$1' is not known: ./run.sh starts everything, ./run.sh chat one agent alone; other commands are .venv/bin/tom $1." ;;
esac

# The services are two small MCP servers that a first config.yml offers. --inexact: what run_tests.sh installed stays.
# The extras are the drivers of Redis and of the archives: whoever writes REDIS_URL need not install anything.
set_up --no-default-groups --group services --extra redis --extra mysql --extra mongodb --inexact
say "🚀 tom ${what[*]} ($other)"
exec "$VENV/bin/tom" "${what[@]}" --data "${TOM_DATA:-$ROOT/data}" "$@"
