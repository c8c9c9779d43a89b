#!/usr/bin/env bash
# The life of the package on a running system: what an installation brings, that it starts nothing, that an
# upgrade keeps data, choices and a running pass, and what stays after removal and purge.
#   package.sh OLDER.deb NEWER.deb
set -uo pipefail
. ./lib.sh
older=$1 newer=$2

owner_and_mode() { stat -c '%U:%G %a' "$1"; }
install() { DEBIAN_FRONTEND=noninteractive dpkg -i "$1" >/t/dpkg 2>&1 || { cat /t/dpkg; return 1; }; }
enabled() { systemctl is-enabled tink-sync.timer; }
active() { systemctl is-active tink-sync.timer; }
listens() { systemctl is-active tink-sync-hook@pass-failed.path; }

check 'it installs' install "$older"
check 'nothing is enabled' is disabled enabled
check 'nothing runs' is inactive active
check 'the user exists' getent passwd tink-sync
check 'the user cannot log in' says nologin getent passwd tink-sync
check 'the configuration is for root and the service' is 'root:tink-sync 640' owner_and_mode $CONFIG
check 'its directory too' is 'root:tink-sync 750' owner_and_mode /etc/tink-sync
check 'the credential store is closed' is 'root:root 700' owner_and_mode /etc/credstore
check 'the encrypted one too' is 'root:root 700' owner_and_mode /etc/credstore.encrypted
for file in /usr/share/man/man1/tink-sync.1.gz /usr/share/man/man1/tink-sync-run.1.gz /usr/share/man/man5/tink-sync.toml.5.gz \
    /usr/share/bash-completion/completions/tink-sync /usr/share/zsh/vendor-completions/_tink-sync \
    /usr/share/fish/vendor_completions.d/tink-sync.fish /usr/lib/systemd/catalog/tink-sync.catalog \
    /usr/share/doc/tink-sync/copyright; do
    check "$file" test -s "$file"
done
units=(/usr/lib/systemd/system/tink-sync{,@,-failure@,-hook@}.service /usr/lib/systemd/system/tink-sync{.timer,-hook@.path})
check 'systemd finds no fault in the units' is '' systemd-analyze verify --man=no --recursive-errors=no "${units[@]}"
check 'the check says what is missing' exits 78 tink-sync check

sandbox --users 5 --history-days 10
application 5
configure
credential
check 'the first pass' start
check 'the store is for the service and its readers' is 'tink-sync:tink-sync-read 640' owner_and_mode $STORE
check 'the timer is enabled on request' systemctl enable --now --quiet tink-sync.timer
check 'a hook is enabled on request' systemctl enable --now --quiet tink-sync-hook@pass-failed.path
rows=$(sql 'SELECT count(*) FROM transactions_v1')

# An upgrade in the middle of a pass.
control latency '{"ms":500}'
pass_under_way
before=$(systemctl show -P InvocationID tink-sync.service)
# The store as releases before have left it, for the service alone.
chgrp tink-sync /var/lib/tink-sync $STORE $STORE-*
chmod 700 /var/lib/tink-sync
chmod 600 $STORE $STORE-*
check 'it upgrades' install "$newer"
check 'the pass went on' is "$before" systemctl show -P InvocationID tink-sync.service
check 'the timer runs again' is active active
check 'and is still enabled' is enabled enabled
check 'the hook listens on' is active listens
control latency '{"ms":0}'
until_true is inactive systemctl is-active tink-sync.service
check 'the pass ended well' is success last_result
check 'the configuration was kept' grep -q sandbox-client $CONFIG
check 'the store was opened to its readers' is 'tink-sync:tink-sync-read 640' owner_and_mode $STORE
check 'its directory too' is 'tink-sync:tink-sync-read 2750' owner_and_mode /var/lib/tink-sync
check 'the data were kept' is "$rows" sql 'SELECT count(*) FROM transactions_v1'
check 'and a pass works' start

tink-sync timer --every 4h >/t/timer 2>&1
check 'a pass in the way of a removal' systemctl start --no-block tink-sync.service
check 'it is removed' dpkg -r tink-sync
check 'nothing runs any more' is inactive active
check 'no hook listens' is inactive listens
check 'the program is gone' not test -e /usr/bin/tink-sync
check 'the configuration stays' test -s $CONFIG
check 'the data stay' is "$rows" sql 'SELECT count(*) FROM transactions_v1'
check 'it comes back' install "$newer"
check 'with the choice of before' is enabled enabled
check 'also about the hook' is active listens
check 'and a pass works again' start

check 'it is purged' dpkg -P tink-sync
for gone in /var/lib/tink-sync /etc/tink-sync /var/lib/systemd/timers/stamp-tink-sync.timer \
    /etc/systemd/system/paths.target.wants/tink-sync-hook@pass-failed.path \
    /etc/systemd/system/timers.target.wants/tink-sync.timer /etc/systemd/system/tink-sync.timer.d; do
    check "$gone is gone" not test -e "$gone"
done
check 'nothing of it is left for systemd' is '' systemctl list-units --all --plain --no-legend 'tink-sync*'
finish
