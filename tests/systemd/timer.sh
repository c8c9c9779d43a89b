#!/usr/bin/env bash
# The timer: enabling it runs nothing at once, it fires at its slot, its runs are known as such, and the
# cadence can be changed with a command.
set -uo pipefail
. ./lib.sh
sandbox --users 3 --history-days 5
application 3
configure
credential

check 'an enabled timer waits for its slot' systemctl enable --now --quiet tink-sync.timer
check 'so that nothing ran yet' is '' systemctl show -P InvocationID tink-sync.service
check 'the slots are six hours apart' says 'OnCalendar=\*-\*-\* 00/6:00:00 UTC' systemctl show -P TimersCalendar tink-sync.timer
check 'the check tells the next one' says 'ok +timer: ' tink-sync check
check 'the timer command too' says '6h' tink-sync timer

check 'another cadence' tink-sync timer --every 4h
check 'is in force at once' says '00/4:00:00 UTC' systemctl show -P TimersCalendar tink-sync.timer
check 'and told' says '4h' tink-sync timer
check 'the timer still runs' is active systemctl is-active tink-sync.timer
check 'one that does not divide a day is refused' exits 2 tink-sync timer --every 7h
check 'one that the quota forbids is refused' exits 2 tink-sync timer --every 15m
check 'the shipped one leaves nothing behind' tink-sync timer --every 6h
check 'no drop-in' not test -e /etc/systemd/system/tink-sync.timer.d/50-tink-sync-cadence.conf
check 'and is in force' says '00/6:00:00 UTC' systemctl show -P TimersCalendar tink-sync.timer
check 'somebody else may not change it' exits 78 sudo -u nobody tink-sync timer --every 4h

# A pass by hand, asked for twice: never two at once.
control latency '{"ms":400}'
systemctl start --no-block tink-sync.service
until_true says 'syncing 0/3' systemctl show -P StatusText tink-sync.service
main=$(systemctl show -P MainPID tink-sync.service)
systemctl start --no-block tink-sync.service
check 'a second start joins the first' is "$main" systemctl show -P MainPID tink-sync.service
processes() { cat /proc/[0-9]*/comm 2>/dev/null | grep -cx tink-sync; }
check 'there is one process' is 1 processes
control latency '{"ms":0}'
until_true is inactive systemctl is-active tink-sync.service
check 'that pass was a manual one' is manual sql 'SELECT trigger FROM runs_v1 ORDER BY started_at DESC LIMIT 1'

# The shipped timer with slots every two seconds.
drop_in tink-sync.timer '[Timer]' 'OnCalendar=' 'OnCalendar=*:*:0/2' 'AccuracySec=1ms' 'RandomizedDelaySec=0'
systemctl restart tink-sync.timer
runs() { [[ $(sql "SELECT count(*) FROM runs_v1 WHERE trigger = 'timer' AND exit_code = 0") -ge 2 ]]; }
check 'it fires, and again' until_true runs
check 'the rows are there' is 3 sql "SELECT count(*) FROM connections_v1 WHERE state = 'ok'"

systemctl stop tink-sync.timer
no_drop_in tink-sync.timer
check 'the check warns of a stopped timer' says 'warn +timer: ' tink-sync check
finish
