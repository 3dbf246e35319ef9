#!/usr/bin/env bash
# Sets everything up in .venv beside this file, from wheels alone: ./setup.sh [PYTHON]
# Run again it only brings what is missing. PYTHON is any Python 3.10 to 3.13 (default: python3).
set -euo pipefail
cd "$(dirname "$0")"
python=${1:-python3}

if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' 2>/dev/null; then
    echo "setup.sh: $python is not Python 3.10 to 3.13; name another one: ./setup.sh python3.12" >&2
    exit 1
fi
if [ ! -x .venv/bin/python ]; then
    "$python" -m venv .venv || {
        echo "setup.sh: $python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    }
fi
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt

# A compiled mmcv is used where there is one; mmcv-lite would overwrite it.
extras=test
.venv/bin/python -c 'import importlib.util as u, sys; sys.exit(not (u.find_spec("mmcv") and u.find_spec("mmcv._ext")))' \
    2>/dev/null || extras=test,lite
# Imports take half as long with their bytecode, and it is not written later where PYTHONDONTWRITEBYTECODE is set.
.venv/bin/python -m uv pip install --quiet --compile-bytecode --python .venv/bin/python -c constraints.txt -e ".[$extras]"
