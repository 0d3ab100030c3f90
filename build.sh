#!/usr/bin/env bash
# The entry point for people. Needs Python 3.11 or newer, or Docker for the container commands.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VENV=$ROOT/.venv
EVERYDAY=faster-whisper,local  # what `run` needs; each command installs what else it needs when it is first used
EVERYTHING=all,test
unset PYTHONDONTWRITEBYTECODE  # uv leaves compiling to the first start, and hundreds of processes import the same modules

usage() {
  cat <<EOF
Usage: ./build.sh COMMAND

Every command of nightscribe, on this machine, in a virtual environment (./build.sh COMMAND --help explains each):
$(commands)

For this clone:
  setup [EXTRA...]           only install: what run needs, and these extras; --all installs everything
  test [PYTEST OPTIONS]      check types and style, and run the tests
  quick [PYTEST OPTIONS]     run the tests that need no weights, server or ffmpeg: under a minute
  docs [MKDOCS OPTIONS]      build the documentation as a website in site/
  bench [NAME] [OPTIONS]     run one of the programs in bench/; without NAME, list them
  release VERSION            date the changelog, build the wheel, commit and tag; --dry-run only says what would change

In containers, with the folders that .env names (copy .env.example):
  build                      build the images, including the model's weights
  deploy                     start the queue, the director and the workers; repeat it after any interruption
  status [--watch]           show the containers and the progress
  logs [-f] [SERVICE]        show the logs
  scale N                    run N workers, until the next deploy
  down                       stop and remove the containers; nothing that is finished is lost

The first use installs what it needs in .venv, in about a minute. NIGHTSCRIBE_GPU=1 adds the libraries for NVIDIA GPUs.
EOF
}

# commands: list those of nightscribe with their purpose, as its own table has them.
commands() {
  sed -n 's/^ *"\([a-z-]*\)": Lazy("[^"]*", "[^"]*", "\(.*\)"),$/\1|\2/p' "$ROOT/nightscribe/cli/main.py" |
    while IFS='|' read -r name purpose; do printf '  %-26s %s\n' "$name" "$purpose"; done
}

die() { echo "Error: $*" >&2; exit 2; }

find_python() {
  local candidate found=
  for candidate in ${PYTHON:+"$PYTHON"} python3.14 python3.13 python3.12 python3.11 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
    [ -n "$found" ] || found=$("$candidate" -V 2>/dev/null) || true
  done
  die "nightscribe needs Python 3.11 or newer${found:+, and this machine has $found}. Install it (Debian, Ubuntu: apt-get install python3 python3-venv), or give its path: PYTHON=/path/to/python3.11 ./build.sh …"
}

# setup EXTRAS: create a virtual environment with the project and these extras, again only when they change.
setup() {
  local python=$VENV/bin/python
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || python=$(find_python) || exit
  "$python" "$ROOT/infra/set_up.py" "$1" || exit
}

# nightscribe COMMAND [ARGUMENTS]: run one of nightscribe's own commands.
nightscribe() {
  setup "$EVERYDAY"
  export NIGHTSCRIBE_BUILD_SH=$ROOT/build.sh
  exec "$VENV/bin/nightscribe" "$@"
}

# bench [NAME] [OPTIONS]: run one of the programs in bench/, or list them with their purpose.
bench() {
  local program name
  if [ $# -eq 0 ]; then
    echo "Usage: ./build.sh bench NAME [OPTIONS]   (--help explains each)"
    for program in "$ROOT"/bench/*.py "$ROOT"/bench/*/__main__.py; do
      if grep -q '__name__ == "__main__"' "$program"; then  # the others are modules of these
        name=${program%/__main__.py}
        printf '  %-10s %s\n' "$(basename "$name" .py)" "$(sed -n '1s/^"""\([^"]*\).*/\1/p' "$program")"
      fi
    done
    return
  fi
  name=$1
  shift
  case $name in */*) name= ;; esac
  if [ -f "$ROOT/bench/$name/__main__.py" ]; then
    setup $EVERYTHING
    PYTHONPATH=$ROOT/bench exec "$VENV/bin/python" -m "$name" "$@"
  fi
  program=$ROOT/bench/$name.py
  [ -f "$program" ] || die "There is no benchmark of that name. ./build.sh bench lists all of them."
  setup $EVERYTHING
  exec "$VENV/bin/python" "$program" "$@"
}

# Containers

# setting NAME: print its value from the shell or else from .env, as compose does.
setting() {
  local value=${!1:-}
  if [ -z "$value" ] && [ -f "$ROOT/.env" ]; then
    value=$(grep "^$1=" "$ROOT/.env" | tail -n 1 | cut -d= -f2-) || true
    value=${value%$'\r'}
    case $value in
      \"*\" | \'*\') value=${value:1:${#value}-2} ;;
      *)
        value=${value%%[[:space:]]#*}
        value=${value%"${value##*[![:space:]]}"}
        ;;
    esac
  fi
  echo "$value"
}

# place VARIABLE BUCKET_VARIABLE: make a folder an absolute path; move s3://… to the second, and mount an empty folder.
place() {
  local value nothing=$ROOT/.cache/nothing
  value=$(setting "$1")
  # shellcheck disable=SC2088  # no shell has expanded the ~ in .env
  case $value in
    '' | s3://*)
      [ -z "$value" ] || mkdir -p "$nothing"  # if it is not set, nothing is started
      export "$1=$nothing" "$2=$value"
      ;;
    /*) export "$1=$value" ;;
    '~' | '~/'*) export "$1=$HOME${value#'~'}" ;;
    *) if [ -n "${!1:-}" ]; then export "$1=$PWD/$value"; else export "$1=$ROOT/$value"; fi ;;
  esac
}

# Print the user who will own the transcripts: the caller; for root, the user who called sudo, or the owner of DEST_DIR.
run_as() {
  if [ "$(id -u)" -ne 0 ]; then
    echo "$(id -u):$(id -g)"
  elif [ -n "${SUDO_UID:-}" ]; then
    echo "$SUDO_UID:${SUDO_GID:-$SUDO_UID}"
  elif [ -d "$DEST_DIR" ]; then
    # shellcheck disable=SC2012  # no other command prints numeric owners on both Linux and macOS
    ls -ldn "$DEST_DIR" | awk '{ print $3 ":" $4 }'
  else
    echo 0:0
  fi
}

compose() { (cd "$ROOT" && docker compose "$@"); }

# Export the variables of docker-compose.yml whose values differ from those in .env.
prepare() {
  unset LANGUAGE  # a locale on many systems, which would win over the one in .env
  for each in SOURCE_DIR DEST_DIR; do
    [ -n "$(setting $each)" ] || unset_folders+=("$each")
  done
  place SOURCE_DIR SOURCE_BUCKET
  place DEST_DIR DEST_BUCKET
  RUN_AS=$(setting RUN_AS)
  RUN_AS=${RUN_AS:-$(run_as)}
  export RUN_AS
  case $(setting WATCH) in '' | 0) ;; *) export DIRECTOR_RESTART=unless-stopped ;; esac
}
unset_folders=()

# Explain what Docker's own messages would not.
check_folders() {
  [ ${#unset_folders[@]} -eq 0 ] ||
    die "${unset_folders[0]} is not set. Copy .env.example to .env, and set in it SOURCE_DIR to the folder with your recordings and DEST_DIR to the one for the transcripts."
  [ -d "$SOURCE_DIR" ] || die "SOURCE_DIR '$SOURCE_DIR' is not a folder; set it in .env to the folder with your recordings."
  [ -d "$DEST_DIR" ] || [ ! -e "$DEST_DIR" ] || die "DEST_DIR '$DEST_DIR' is a file; set it in .env to a folder."
}

check_docker() {
  local said
  command -v docker >/dev/null ||
    die "Docker is not installed: there is no command 'docker'. Install it with its compose plugin (https://docs.docker.com/engine/install/), or work without containers: ./build.sh run SOURCE DEST."
  docker compose version >/dev/null 2>&1 ||
    die "This Docker has no 'docker compose'. Install its compose plugin (https://docs.docker.com/compose/install/linux/)."
  if ! said=$(docker version --format '{{.Server.Version}}' 2>&1); then
    case $said in
      *'permission denied'*)
        die "You have no permission to use Docker's socket. Join its group with 'sudo usermod -aG docker $(id -un)', log out and in again, and repeat this command." ;;
      *)
        die "Docker does not respond: ${said##*$'\n'} Start it (sudo systemctl start docker; or Docker Desktop), or set DOCKER_HOST to one that is running." ;;
    esac
  fi
}

deploy() {
  local said port why
  prepare
  check_folders
  check_docker
  if [ ! -d "$DEST_DIR" ]; then
    mkdir -p "$DEST_DIR" || die "DEST_DIR '$DEST_DIR' cannot be created; set it in .env to another folder."
    [ "$(id -u)" -ne 0 ] || chown "$RUN_AS" "$DEST_DIR"
  fi
  said=$(mktemp)
  if compose up --detach "$@" 2>&1 | tee "$said"; then
    rm "$said"
    echo "Everything has started. Continue with: ./build.sh status --watch, ./build.sh logs -f, ./build.sh down."
    return
  fi
  port=$(grep -E 'already (allocated|in use)' "$said" | grep -oE ':[0-9]{2,5}\b' | head -n 1) || true
  rm "$said"
  [ -z "$port" ] ||
    die "Another program uses port ${port#:} of this machine. Stop it, or set another port in .env (QUEUE_PORT and others, see .env.example)."
  why=$(compose logs --no-log-prefix check 2>/dev/null | sed -n 's/.*Error: //p' | tail -n 1)
  die "${why:-Some containers could not be started; see the messages of Docker above.}"
}

# Run it in a container, because only containers can resolve the queue's address.
deployment_status() {
  prepare
  check_folders
  check_docker
  case " $* " in *' --json '*) ;; *) compose ps --all ;; esac
  compose run --rm --no-deps director status "$@"
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
  status)
    case ${1:-} in
      '' | --watch | --json) deployment_status "$@" ;;
      *) nightscribe status "$@" ;;
    esac
    ;;
  test)
    setup $EVERYTHING
    cd "$ROOT"
    "$VENV/bin/ruff" check .
    "$VENV/bin/ruff" format --check .
    "$VENV/bin/mypy"
    # Each process has its own SQS servers and models; an idle process takes tests from a busy one. There is one more
    # than there are cores, because many tests wait: for leases to expire, and for other processes.
    processes=$(($(getconf _NPROCESSORS_ONLN) + 1))
    exec "$VENV/bin/python" -m pytest --numprocesses "$processes" --maxprocesses 4 --dist worksteal "$@"
    ;;
  quick)
    setup $EVERYTHING
    cd "$ROOT"
    # Only unit tests are quick; the others need not even be imported.
    exec "$VENV/bin/python" -m pytest -m quick --ignore-glob='tests/[!u]*/test_*' --numprocesses auto --maxprocesses 4 --dist worksteal "$@"
    ;;
  docs)
    setup $EVERYTHING
    cd "$ROOT"
    export NO_MKDOCS_2_WARNING=1  # an advertisement
    exec "$VENV/bin/python" -m mkdocs build --strict "$@"
    ;;
  bench) bench "$@" ;;
  release)
    setup $EVERYTHING
    exec "$VENV/bin/python" "$ROOT/.ci/release.py" "$@"
    ;;
  setup)
    case ${1:-} in
      --all) setup $EVERYTHING ;;
      -*) die "The only option of setup is --all." ;;
      *) setup "$(IFS=,; echo "$EVERYDAY${*:+,$*}")" ;;
    esac
    ;;
  build)
    prepare
    check_docker
    compose build "$@"
    ;;
  deploy) deploy "$@" ;;
  logs)
    prepare
    check_docker
    compose logs "$@"
    ;;
  scale)
    [[ ${1:-} =~ ^[0-9]+$ ]] || die "Give the number of workers, as in: ./build.sh scale 3"
    prepare
    check_folders
    check_docker
    compose up --detach --no-deps --no-recreate --scale worker="$1" worker
    ;;
  down)
    prepare
    check_docker
    COMPOSE_PROFILES='*' compose down --remove-orphans "$@"
    ;;
  help | -h | --help) usage ;;
  -V | --version) nightscribe --version ;;
  *)
    [[ $'\n'$(commands) == *$'\n'"  $command "* ]] || { usage >&2; die "There is no command '$command'."; }
    nightscribe "$command" "$@"
    ;;
esac
