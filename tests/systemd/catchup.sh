#!/usr/bin/env bash
# A machine that was off: one pass makes up for all the slots it missed. Runs on the same machine twice.
#   catchup.sh first|second
set -uo pipefail
. ./lib.sh
stamp=/var/lib/systemd/timers/stamp-tink-sync.timer
runs() { sql "SELECT count(*) FROM runs_v1 WHERE trigger = 'timer'"; }

case $1 in
first)
    # The store must exist, so that the second boot can be asked what it did.
    sandbox --users 3 --history-days 5
    application 3
    configure
    credential
    check 'a pass by hand' start
    # The delay is spread over an hour; here nobody has an hour.
    drop_in tink-sync.timer '[Timer]' 'RandomizedDelaySec=0' 'AccuracySec=1ms'
    check 'the timer is enabled' systemctl enable --now --quiet tink-sync.timer
    check 'and remembers when' test -e $stamp
    check 'nothing was missed yet' is 0 runs
    # As if the machine had been off for three days.
    touch -d '3 days ago' $stamp
    ;;
second)
    sandbox --users 3 --history-days 5
    one() { [[ $(runs) -ge 1 ]]; }
    check 'the missed slots are made up for' until_true one
    until_true is inactive systemctl is-active tink-sync.service
    check 'by one pass' is 1 runs
    check 'and the next slot is waited for' says 'next_elapse=[A-Z]' systemctl show -P TimersCalendar tink-sync.timer
    ;;
esac
finish
