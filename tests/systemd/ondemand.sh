#!/usr/bin/env bash
# One connection at once, asked for by the application: with the shipped rules for polkit and sudo its user may
# start exactly that, and nothing else.
set -uo pipefail
. ./lib.sh
examples=/usr/share/doc/tink-sync/examples
useradd --system --user-group myapp
useradd --system other
as() { runuser -u "$1" -- "${@:2}"; }
unit() { as "$1" systemctl --no-ask-password "${@:2}"; }

sandbox --users 3 --history-days 10
application 3
configure
credential
start

unit_refused='[Aa]ccess denied|[Ii]nteractive authentication required'
check 'without a rule nobody may' says "$unit_refused" unit myapp start tink-sync@c-1.service
install -m 644 $examples/polkit-sync-now.rules /etc/polkit-1/rules.d/50-tink-sync.rules
systemctl restart polkit.service
check 'with it the application may sync one connection' unit myapp start tink-sync@c-1.service
check 'which was done' is '2' sql "SELECT count(*) FROM run_connections_v1 WHERE connection_id = 'c-1'"
check 'a connection that is not there is told' not unit myapp start tink-sync@nobody.service
check 'another user may not' says "$unit_refused" unit other start tink-sync@c-1.service
check 'nor the application a pass' says "$unit_refused" unit myapp start tink-sync.service
check 'nor stop anything' says "$unit_refused" unit myapp stop tink-sync.timer
check 'nor stop the sync of one connection' says "$unit_refused" unit myapp stop tink-sync@c-1.service
check 'nor another unit' says "$unit_refused" unit myapp start systemd-tmpfiles-clean.service

install -m 440 $examples/sudoers-sync-now /etc/sudoers.d/tink-sync
sync_now() { as myapp sudo -n /usr/bin/tink-sync "$@"; }
check 'sudo takes the rule' visudo -cf /etc/sudoers.d/tink-sync
check 'the application may sync one and say who asked' \
    sync_now run --connection c-2 --actor jane@example.com --ip 203.0.113.7
check 'which is in the audit log' is 'jane@example.com|203.0.113.7|sync.requested|c-2' \
    sql 'SELECT actor, ip, action, connection_id FROM audit_v1'
check 'no other option slips in' says 'password is required' \
    sync_now run --connection c-2 --config /tmp/mine --actor jane --ip ::1
check 'nor in the place of an id' says 'password is required' \
    sync_now run --connection --force --actor jane --ip ::1
check 'nor behind' says 'password is required' sync_now run --connection c-2 --actor jane --ip ::1 --force
check 'nor another command' says 'password is required' sync_now check
check 'no file of the store is root'\''s' is '' find /var/lib/tink-sync -user root
finish
