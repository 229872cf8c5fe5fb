#!/bin/sh
# The well-known workaround: end SLEEP_AT_STOP_SECONDS later than the program, so that the log
# driver has time to send what it holds. How long is enough, nobody knows.
"$@" &
child=$!
trap 'kill -TERM "$child"' TERM
wait "$child"  # a signal ends it early
wait "$child"
code=$?
sleep "${SLEEP_AT_STOP_SECONDS:-5}"
exit "$code"
