#!/usr/bin/env bash
# Stopping in mid-pass, syncs of single connections beside a pass, odd names, a locked-out network.
set -uo pipefail
. ./lib.sh
failure=9a2b6d4f0c7e4e1f8d3a5b7c9e1f2a0a
state() { systemctl is-active "${1:-tink-sync.service}"; }
ok() { sql "SELECT count(*) FROM connections_v1 WHERE state = 'ok'"; }

sandbox --users 60 --history-days 10
application 60
configure 'tink.concurrency = 2'
credential
systemctl start tink-sync.timer

# In the middle of the first pass: some connections are complete, many are not begun.
control latency '{"ms":60}'
systemctl start --no-block tink-sync.service
some() { [[ $(ok) -ge 5 ]]; }
check 'a pass is under way' until_true some
check 'a single sync runs beside it' systemctl start tink-sync@c-59.service
check 'and is done while the pass goes on' is activating state
check 'it is stopped' timeout 20 systemctl stop tink-sync.service
check 'that is no failure' is success last_result
check 'the exit status tells of the signal' is 143 systemctl show -P ExecMainStatus tink-sync.service
check 'nobody is alerted' is '' journalctl -o cat --no-pager -q "MESSAGE_ID=$failure"
complete=$(ok)
check 'what was complete is kept' test "$complete" -ge 6 -a "$complete" -lt 60
check 'the run is closed with that status' is 143 sql "SELECT exit_code FROM runs_v1 WHERE exit_code IS NOT 0 ORDER BY started_at DESC LIMIT 1"
check 'no watermark without its rows' is 0 sql "SELECT count(*) FROM accounts_v1 a WHERE complete_through IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM transactions_v1 t WHERE t.account_key = a.account_key)"
control latency '{"ms":0}'
check 'the next pass does the rest' start
check 'all of it' is 60 ok

# What an instance can be called.
name="-x ü/1"
sqlite3 /var/lib/app/app.db "DROP VIEW tink_sync_source_v1; CREATE VIEW tink_sync_source_v1 AS SELECT CASE id WHEN 1 THEN '$name'
    ELSE 'c-' || id END AS connection_id, 'u-' || id AS user_id, enabled, 1 AS entitled, 'user-' || id AS external_user_id FROM links"
check 'an odd name can be synced' systemctl start "$(systemd-escape --template=tink-sync@.service -- "$name")"
check 'under that name' is ok sql "SELECT state FROM connections_v1 WHERE connection_id = '$name'"
check 'an unknown one is wrong usage' not systemctl start tink-sync@nobody-knows.service
check 'and says so' says 'unknown connection: nobody-knows' journalctl -o cat --no-pager -u tink-sync@nobody-knows

# Metrics for node_exporter, in a directory of its own.
mkdir -p /var/lib/node-exporter
chown root:tink-sync /var/lib/node-exporter
chmod 775 /var/lib/node-exporter
configure "report.metrics_file = '/var/lib/node-exporter/tink-sync.prom'"
drop_in tink-sync.service '[Service]' 'ReadWritePaths=/var/lib/node-exporter'
check 'a pass writes metrics' start
check 'for everybody' is 644 stat -c %a /var/lib/node-exporter/tink-sync.prom
check 'with the time of the last success' grep -q '^tink_sync_last_success_timestamp_seconds 1' /var/lib/node-exporter/tink-sync.prom
finish
