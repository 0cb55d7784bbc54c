#!/bin/sh
# Stands in for docker: the «container» is a process that is no child of this one, as with the real engine.
# Notes every command line in $STATE/log, with what it sees of TOKEN.
echo "$* [${TOKEN-no token}]" >>"$STATE/log"
if [ "$1" = --context ]; then shift 2; fi
case $1 in
  run)
    # The engine's client passes TERM on, and this container does not mind it.
    trap '' TERM
    while [ $# -gt 0 ]; do
      if [ "$1" = --cidfile ]; then cidfile=$2; fi
      shift
    done
    (
      [ -e "$STATE/deaf" ] || trap - TERM
      setsid sh -c "[ -e '$STATE/deaf' ] && trap '' TERM; while :; do sleep 0.05; done" </dev/null >/dev/null 2>&1 &
      echo $! >"$STATE/pid"
    )
    printf %s 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef >"$cidfile"
    echo '{"jsonrpc":"2.0","method":"up"}'
    while [ ! -e "$STATE/ended" ]; do sleep 0.05; done
    exit 5
    ;;
  stop)
    kill -TERM "$(cat "$STATE/pid")"
    [ -e "$STATE/deaf" ] || : >"$STATE/ended"
    ;;
  kill)
    kill -KILL "$(cat "$STATE/pid")"
    : >"$STATE/ended"
    ;;
esac
