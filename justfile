# Recipes for those who work on Tom. `.venv/bin/just` or `uv run just`; ./run_tests.sh --fast has set everything up.

set shell := ["bash", "-euo", "pipefail", "-c"]

bin := justfile_directory() / ".venv/bin"

# What can be done
default:
    @{{ bin }}/just --list --unsorted

# Format, and mend what a program can mend
fix:
    {{ bin }}/ruff check --fix
    {{ bin }}/ruff format

# Lint, format, types, layers, spelling, unsafe constructs
check:
    {{ bin }}/python scripts/tiers.py --only check

# Checks, kernel and fast tests, under three minutes; with arguments: pytest on them
test *arguments:
    {{ if arguments == "" { bin + "/python scripts/tiers.py --fast" } else { bin + "/python -m pytest " + arguments } }}

# Tom on this machine, with its data in ./data
serve *arguments:
    ./run.sh {{ arguments }}

# Write the generated reference pages, then run what the docs say
docs:
    {{ bin }}/python scripts/reference.py
    {{ bin }}/python -m pytest -q tests/docs

# Benchmarks, all or one: just bench b1
bench name="b[0-9]*" *arguments:
    failed=0; for file in $(ls -v bench/{{ name }}_*.py); do {{ bin }}/python "$file" {{ arguments }} || failed=1; done; exit $failed

# Every tier and the long proofs
trust:
    {{ bin }}/python scripts/tiers.py --trust
