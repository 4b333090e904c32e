#!/bin/sh
# h2load against a running proxy.
set -eu

usage() {
	cat <<'TEXT'
usage: scripts/h2load.sh [-- H2LOAD OPTIONS]

Runs h2load, by default over HTTP/1.1. Set in the environment:

  URL           where to send requests     (http://127.0.0.1:8080/)
  PROTOCOL      h1, or h2 for HTTP/2       (h1)
  CONNECTIONS   connections                (64)
  STREAMS       requests in flight on each (1)
  DURATION      how long, in seconds       (10)
  RATE          requests a second in all; without it, as many as possible

Examples:
  scripts/h2load.sh
  RATE=10000 DURATION=30 scripts/h2load.sh
TEXT
}

case ${1:-} in
-h | --help) usage; exit 0 ;;
"") ;;
--) shift ;;
*) usage >&2; exit 2 ;;
esac
command -v h2load >/dev/null || { echo "h2load is not installed (see scripts/setup-peers)" >&2; exit 1; }

connections=${CONNECTIONS:-64}
case ${PROTOCOL:-h1} in
h1) set -- --h1 "$@" ;;
h2) ;;
*) usage >&2; exit 2 ;;
esac
if [ -n "${RATE:-}" ]; then
	# h2load is told the rate of each connection, as a whole number.
	per_connection=$((RATE / connections))
	if [ "$per_connection" -eq 0 ]; then
		echo "RATE must be at least CONNECTIONS ($connections)" >&2
		exit 2
	fi
	set -- --rps "$per_connection" "$@"
fi

exec h2load --clients "$connections" --threads 1 --max-concurrent-streams "${STREAMS:-1}" \
	--warm-up-time 1s --duration "${DURATION:-10}" "$@" "${URL:-http://127.0.0.1:8080/}"
