#!/bin/sh
# wrk against a running proxy.
set -eu

usage() {
	cat <<'TEXT'
usage: scripts/wrk.sh [SCRIPT] [-- WRK OPTIONS]

Runs wrk with one of the scripts in scripts/wrk: get (default), post, pipeline
or mixed. Set in the environment:

  URL           where to send requests   (http://127.0.0.1:8080/)
  CONNECTIONS   keep-alive connections   (64)
  THREADS       threads of wrk           (1)
  DURATION      how long                 (10s)
  BODY_BYTES    body of a post           (1024)
  DEPTH         requests in a pipeline   (16)

Examples:
  scripts/wrk.sh
  CONNECTIONS=512 DURATION=30s scripts/wrk.sh mixed
  scripts/wrk.sh get -- --timeout 5s

wrk does not correct its latencies for requests that it could not send while
the server stalled. Read its throughput; take latencies from
"ringway-bench load --rate".
TEXT
}

script=get
case ${1:-} in
-h | --help) usage; exit 0 ;;
"" | --) ;;
*) script=$1; shift ;;
esac
if [ "${1:-}" = -- ]; then shift; fi

file=$(dirname "$0")/wrk/$script.lua
if [ ! -f "$file" ]; then
	echo "there is no script $file" >&2
	usage >&2
	exit 2
fi
command -v wrk >/dev/null || { echo "wrk is not installed (see scripts/setup-peers)" >&2; exit 1; }

exec wrk --latency --threads "${THREADS:-1}" --connections "${CONNECTIONS:-64}" \
	--duration "${DURATION:-10s}" --script "$file" "$@" "${URL:-http://127.0.0.1:8080/}"
