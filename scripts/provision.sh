#!/usr/bin/env bash
# Brings the programs that tests drive and that no Python package holds: a browser with fonts, databases,
# Docker, and MCP servers.
# Idempotent. As root on Debian or Ubuntu it installs what is missing; elsewhere it says what to install.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || missing+=(chromium)
command -v sqlite3 >/dev/null || missing+=(sqlite3)
command -v git >/dev/null || missing+=(git)
command -v curl >/dev/null || missing+=(curl)
if command -v dpkg >/dev/null && ! dpkg -s fonts-noto-core >/dev/null 2>&1; then missing+=(fonts-noto-core); fi
# Servers lie in sbin, which an ordinary person's PATH may lack. The tests start each for themselves.
PATH="${PATH}:/usr/local/sbin:/usr/sbin:/sbin"
command -v mariadbd >/dev/null || missing+=(mariadb-server)
command -v redis-server >/dev/null || missing+=(redis-server)
command -v dockerd >/dev/null || missing+=(docker.io)
command -v docker-compose >/dev/null || docker compose version >/dev/null 2>&1 || missing+=(docker-compose)
command -v iptables >/dev/null || missing+=(iptables)
command -v busybox >/dev/null || missing+=(busybox-static)

if [ "${#missing[@]}" -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "⏳ installing ${missing[*]} (once) …" >&2
    mkdir -p .tools
    { apt-get update && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
      >.tools/apt.log 2>&1 || echo "⚠️ apt-get could not install ${missing[*]}: see .tools/apt.log" >&2
  else
    echo "⚠️ the tests that need these do not run until they are installed: ${missing[*]}" >&2
  fi
fi

for script in scripts/provision_services.sh scripts/provision_services.py; do
  case "$script" in
    *.sh) [ -f "$script" ] && { bash "$script" || echo "⚠️ $script failed" >&2; } ;;
    *.py) [ -f "$script" ] && { .venv/bin/python "$script" || echo "⚠️ $script failed" >&2; } ;;
  esac
done
exit 0
