#!/usr/bin/env bash
# The journal: native fields, message ids and catalog; warnings are exactly what needs a person; nothing is
# lost with ten thousand connections; the status line while a pass runs and afterwards.
set -uo pipefail
. ./lib.sh
id=9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a
field() { records "${since[@]}" "MESSAGE_ID=${id}$1" | tail -n 1 | jq -r ".$2"; }
messages() { journalctl --sync && journalctl -u tink-sync -o cat --no-pager "${since[@]}" "$@"; }
# What was recorded up to here is of no interest any more.
since=()
# (Not --after-cursor: with a filter it passes over the first record.)
forget() { since=(--since "@$EPOCHREALTIME"); }

sandbox --users 4 --history-days 10
application 4
configure
credential
# The timer refers to the service, which keeps its last status from being forgotten.
systemctl start tink-sync.timer
check 'a pass in which all is well' start
journalctl --sync
for name in _SYSTEMD_UNIT:tink-sync.service SYSLOG_IDENTIFIER:tink-sync PRIORITY:6 TINK_TRIGGER:manual TINK_CONNECTIONS:4 TINK_DUE:4; do
    check "the start has $name" is "${name#*:}" field 01 "${name%%:*}"
done
for name in TINK_RUN_ID TINK_CONNECTION_ID TINK_USER_ID TINK_OUTCOME TINK_ACCOUNTS TINK_FETCHED TINK_ADDED TINK_UPDATED TINK_REMOVED \
    TINK_QUARANTINED TINK_REQUESTS TINK_RETRIES TINK_DURATION_MS; do
    check "a connection has $name" not is null field 02 $name
done
check 'a connection is information' is 6 field 02 PRIORITY
check 'the end is a notice' is 5 field 04 PRIORITY
check 'with the totals' is 4 field 04 TINK_SYNCED
check 'one record for each connection' is 4 jq -s length <(records "${since[@]}" "MESSAGE_ID=${id}02")
check 'the story of one connection' is 1 jq -s length <(records TINK_CONNECTION_ID=c-2)
check 'no one has to be woken' is '' messages -p warning
check 'the catalog explains the end' says 'tink-sync status' journalctl -x --no-pager "MESSAGE_ID=${id}04"
check 'and fills in the names' says 'tink-sync why c-2' journalctl -x --no-pager "MESSAGE_ID=${id}02" TINK_CONNECTION_ID=c-2
check 'every message of the contract is in the catalog' is 9 grep -c "^-- ${id}0[1-9]" <(journalctl --dump-catalog)
check 'the status line tells how it ended' says 'Status: "last pass ended .* with 0: 4 synced' \
    systemctl status --no-pager tink-sync.service

# What needs a person, and nothing else, is a warning or worse.
forget
control faults '{"action":"status","code":500,"user":"user-1","endpoint":"accounts","times":0}'
check 'one broken bank fails the pass' not start
check 'with exit status 10' is 10 systemctl show -P ExecMainStatus tink-sync.service
check 'an error for it' is 1 jq -s length <(records "${since[@]}" "MESSAGE_ID=${id}02" -p err)
check 'with the reason' is http_5xx field 02 TINK_REASON
check 'and the request of Tink' not is null field 02 TINK_REQUEST_ID
check 'a warning at the end' is 4 field 04 PRIORITY
ours() { messages -p warning | grep -vc '^tink-sync.service: \|^Failed to start'; }
check 'two records in all need a person' is 2 ours
faults_end
start

# Switched off.
sed -i '1i enabled = false' $CONFIG
forget
check 'a pass that is switched off is a success' start
check 'a notice says so' is 5 field 09 PRIORITY
check 'the status line too' says 'switched off' systemctl show -P StatusText tink-sync.service
check 'one connection on demand is still synced' start tink-sync@c-2.service
check 'it alone' is c-2 jq -r .TINK_CONNECTION_ID <(journalctl -u tink-sync@c-2 -o json "MESSAGE_ID=${id}02")
sed -i 1d $CONFIG

# Ten thousand connections, each with a record, in a few seconds.
sandbox --users 10000 --history-days 2 --max-accounts 1 --rows-per-day 0.3
application 10000
configure 'tink.concurrency = 16'
forget
systemctl start --no-block tink-sync.service
check 'the status line follows a pass' until_true says 'syncing [1-9][0-9]*/10000 connections' systemctl show -P StatusText tink-sync.service
# It takes longer than other waits.
systemctl start tink-sync.service
check 'the pass ends well' is success last_result
count() { records "${since[@]}" "MESSAGE_ID=${id}02" | wc -l; }
check 'no record is lost' is 10000 count
check 'journald dropped nothing' is '' journalctl -q --no-pager -g 'Suppressed .* messages'
finish
