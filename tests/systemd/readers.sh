#!/usr/bin/env bash
# Reading the store without the right to write: what an application's user sees who is in the group of readers and owns
# nothing, between and during passes, and what stays closed to it.
set -uo pipefail
. ./lib.sh
owner_and_mode() { stat -c '%U:%G %a' "$1"; }
count='SELECT count(*) FROM transactions_v1'
# as USER COMMAND...
as() { local user=$1; shift; setpriv --reuid="$user" --regid="$user" --init-groups -- "$@"; }
reads() { as "$1" sqlite3 -readonly $STORE "$count"; }
reads_all() { [[ $(reads "$1") -gt 0 && $(reads "$1") == "$(sql "$count")" ]]; }

useradd app
useradd stranger
usermod -aG tink-sync-read app
sandbox --users 5 --history-days 10
application 5
configure
credential

check 'the directory is the group'\''s to look into' is 'tink-sync:tink-sync-read 2750' owner_and_mode /var/lib/tink-sync
check 'the first pass' start
for file in $STORE $STORE-wal $STORE-shm; do
    check "$file is the group's to read" is 'tink-sync:tink-sync-read 640' owner_and_mode $file
done
check 'a member reads between passes' reads_all app
check 'without the group nobody does' not reads stranger
check 'a member cannot write' not as app sqlite3 $STORE 'DELETE FROM ts_runs'
check 'nor make a file there' not as app touch /var/lib/tink-sync/file
check 'nor read the configuration' not as app cat $CONFIG
check 'nor the events of hooks' not as app ls /var/lib/tink-sync/hooks
check 'the check says so' says 'readers: members of group tink-sync-read may read the store: app' tink-sync check --offline

control latency '{"ms":1000}'
pass_under_way
check 'a member reads during a pass' reads_all app
for lock in /var/lib/tink-sync/*.lock; do
    check "$lock stays closed" not as app cat "$lock"
done
systemctl kill --kill-whom=main --signal=KILL tink-sync.service
until_true not is activating systemctl is-active tink-sync.service
check 'a member reads after one that was killed' reads_all app
control latency '{"ms":0}'
check 'the next pass' start
check 'a member reads on' reads_all app
tink-sync status >/dev/null
check 'and after a command by hand' reads_all app
check 'what was made by hand is the group'\''s too' is 'tink-sync:tink-sync-read 640' owner_and_mode $STORE-shm
check 'the queue of hooks is still theirs' is 'tink-sync:tink-sync-hook 2750' owner_and_mode /var/lib/tink-sync/hooks

# As releases before left it.
older() {
    chgrp tink-sync /var/lib/tink-sync $STORE $STORE-*
    chmod 700 /var/lib/tink-sync
    chmod 600 $STORE $STORE-*
}
older
check 'an older store is closed' not reads app
systemd-tmpfiles --create tink-sync.conf
check 'the package opens it' reads_all app
older
chgrp tink-sync-read /var/lib/tink-sync
chmod 2750 /var/lib/tink-sync
check 'a run by hand opens it, too' tink-sync run
check 'so that a member reads' reads_all app
finish
