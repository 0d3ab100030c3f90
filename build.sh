#!/usr/bin/env bash
# The one entry for people. Needs Python 3.11 or newer and nothing else of ours.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VENV=$ROOT/.venv
TORCH=torch==2.13.0
TORCH_CPU_INDEX=${TORCH_CPU_INDEX:-https://download.pytorch.org/whl/cpu}

usage() {
  cat <<'EOF'
Usage: ./build.sh COMMAND

  run SOURCE DEST [OPTIONS]  transcribe the recordings in SOURCE into DEST on this machine
                             (options: ./build.sh run --help)
  status DEST [--watch]      show how far it is, what is queued, and what failed and why
  retry DEST                 put recordings back that failed
  test [PYTEST OPTIONS]      check types and style, and run the tests
  setup                      only make the virtual environment in .venv

The first use makes a virtual environment in .venv, which takes some minutes. With
NIGHTSCRIBE_GPU=1 it gets torch for NVIDIA GPUs, which is several GB more.
EOF
}

die() { echo "Error: $*" >&2; exit 2; }

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.13 python3.12 python3.11 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  die "No Python 3.11 or newer was found. Install it (Debian, Ubuntu: apt-get install python3 python3-venv), or name it: PYTHON=/path/to/python3.11 ./build.sh …"
}

answers() {
  "$VENV/bin/python" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=10)' "$1" 2>/dev/null
}

# setup EXTRAS: a virtual environment with the project and these extras, made again only when they change.
setup() {
  local extras=$1 stamp wanted python torch_index=()
  stamp=$VENV/.nightscribe-$extras
  wanted=$(cat "$ROOT/pyproject.toml" "$ROOT/constraints.txt" <(echo "${NIGHTSCRIBE_GPU:-}") | cksum)
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then  # none yet, or one whose making was interrupted
    rm -rf "$VENV"
    python=$(find_python)
    echo "Making a virtual environment in $VENV with $("$python" -V) …" >&2
    "$python" -m venv "$VENV" || {
      rm -rf "$VENV"
      die "$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv."
    }
  fi
  echo "Installing nightscribe and its speech engines (once, some minutes) …" >&2
  # Plain torch for Linux brings gigabytes of GPU libraries with it.
  if [ -z "${NIGHTSCRIBE_GPU:-}" ] && [ "$(uname)" = Linux ]; then
    if answers "$TORCH_CPU_INDEX/torch/"; then
      torch_index=(--extra-index-url "$TORCH_CPU_INDEX")
    else
      echo "The index of CPU builds of torch does not answer; taking torch from pip's own index." >&2
    fi
  fi
  local pip=("$VENV/bin/python" -m pip --disable-pip-version-check install --quiet -c "$ROOT/constraints.txt")
  "${pip[@]}" ${torch_index[@]+"${torch_index[@]}"} "$TORCH" || die "torch could not be installed; what pip says above is the reason."
  "${pip[@]}" -e "$ROOT[$extras]" || die "nightscribe could not be installed; what pip says above is the reason."
  echo "$wanted" >"$stamp"
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
  run | status | retry)
    setup all
    exec "$VENV/bin/nightscribe" "$command" "$@"
    ;;
  test)
    setup all,test
    cd "$ROOT"
    "$VENV/bin/ruff" check .
    "$VENV/bin/ruff" format --check .
    "$VENV/bin/mypy"
    exec "$VENV/bin/python" -m pytest "$@"
    ;;
  setup) setup all ;;
  help | -h | --help) usage ;;
  *) usage >&2; die "There is no command '$command'." ;;
esac
