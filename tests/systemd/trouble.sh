#!/usr/bin/env bash
# When things go wrong: an outage is waited out under the eyes of the watchdog; one that lasts ends with 69
# and one alert, which an operator's script can take over; a process that is stuck is ended.
set -uo pipefail
. ./lib.sh
failure=9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a0a
alerts() { journalctl --sync && journalctl -o json --no-pager "MESSAGE_ID=$failure" | wc -l; }
alert() { journalctl -o json --no-pager "MESSAGE_ID=$failure" | tail -n 1 | jq -r ".$1"; }
status() { systemctl show -P StatusText tink-sync.service; }
came() { [[ $(alerts) -eq $1 ]]; }

sandbox --users 4 --history-days 10
application 4
configure
credential
systemctl start tink-sync.timer
start

# Tink goes away and comes back. The watchdog would end a silent program after two seconds.
drop_in tink-sync.service '[Service]' 'WatchdogSec=2s'
sandbox_ends
systemctl start --no-block tink-sync.service
check 'an outage is waited for' until_true says 'Tink does not answer, waiting' status
# Longer than the watchdog's limit: that time has to pass.
sleep 5
check 'the watchdog is content' is activating systemctl is-active tink-sync.service
sandbox --users 4 --history-days 10
check 'the pass goes on when Tink is back' until_true is inactive systemctl is-active tink-sync.service
check 'and ends well' is success last_result
check 'nobody was alerted' is 0 alerts

# A program that is stuck as a whole is ended and told of.
control latency '{"ms":5000}'
systemctl start --no-block tink-sync.service
until_true says 'syncing 0/4' status
kill -STOP "$(systemctl show -P MainPID tink-sync.service)"
check 'a stuck program is ended' until_true is failed systemctl is-active tink-sync.service
check 'by the watchdog' is watchdog last_result
check 'with an alert' until_true came 1
check 'that says so' is watchdog alert TINK_RESULT
control latency '{"ms":0}'
no_drop_in tink-sync.service
check 'the next pass does not wait for the dead one' start
check 'and is complete' is 4 sql "SELECT count(*) FROM connections_v1 WHERE state = 'ok'"

# Tink stays away.
sandbox_ends
configure "sync.outage_patience = '1s'"
check 'an outage that lasts fails the pass' not start
check 'with 69' is 69 systemctl show -P ExecMainStatus tink-sync.service
check 'one alert' until_true came 2
check 'it names the unit' is tink-sync.service alert TINK_UNIT
check 'and the exit status' is 69 alert TINK_EXIT_CODE
check 'and the run of it' is "$(systemctl show -P InvocationID tink-sync.service)" alert TINK_INVOCATION_ID
check 'as an error' is 3 alert PRIORITY
check 'the catalog explains it' says 'journalctl' journalctl -x --no-pager "MESSAGE_ID=$failure"
check 'it is under the name of the failure unit' says 'tink-sync.service' \
    journalctl --no-pager -o cat -u 'tink-sync-failure@tink-sync.service.service'
check 'the report itself is no failure' is success last_result tink-sync-failure@tink-sync.service.service

# An operator's own script.
mkdir -p /var/lib/alerts
chmod 777 /var/lib/alerts
examples=/usr/share/doc/tink-sync/examples
printf '#!/bin/sh\necho "for $1:" >/var/lib/alerts/mail\ncat >>/var/lib/alerts/mail\n' >/usr/local/bin/tink-sync-alert
chmod 755 /usr/local/bin/tink-sync-alert
install -D -m 644 $examples/alert-script.conf /etc/systemd/system/tink-sync-failure@.service.d/alert.conf
drop_in tink-sync-failure@.service '[Service]' 'ReadWritePaths=/var/lib/alerts'
not start
check 'a script takes it over' until_true test -s /var/lib/alerts/mail
check 'with the unit' grep -qx 'for tink-sync.service:' /var/lib/alerts/mail
check 'with the text' says 'tink-sync.service .*69' cat /var/lib/alerts/mail
no_drop_in tink-sync-failure@.service

# Asked for by somebody who waits: told at once, and no alarm.
check 'a single sync tells of the outage at once' not start tink-sync@c-1.service
before=$(alerts)
check 'without an alert' is "$before" alerts
finish
