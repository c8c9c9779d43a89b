#!/usr/bin/env bash
# Secrets: plain and encrypted stores, for the units and for root's commands by hand, which become the
# service user; whoever may not is told how; files that are open to others are refused.
set -uo pipefail
. ./lib.sh
plain=/etc/credstore/tink-sync.client-secret
sealed=/etc/credstore.encrypted/tink-sync.client-secret
seal() { printf %s "$1" | systemd-creds --with-key=host --name=tink-sync.client-secret encrypt - $sealed; }
failed_with() { is "$1" systemctl show -P ExecMainStatus tink-sync.service; }
owners() { find /var/lib/tink-sync -printf '%u\n' | sort -u; }

sandbox --users 2 --history-days 5
application 2
configure
# The timer refers to the service, which keeps its last result from being forgotten.
systemctl start tink-sync.timer

check 'without a secret a pass fails' not start
check 'as a matter of configuration' failed_with 78
check 'and says where to put it' says 'systemd-creds encrypt --name=tink-sync.client-secret' journalctl -u tink-sync -p err -o cat --no-pager
check 'once' is 1 grep -c 'no client secret found' <(journalctl -u tink-sync -p err -o cat --no-pager)
check 'by hand too' exits 78 tink-sync run

credential
check 'a plain secret is enough' start
check 'by hand as well' tink-sync run
check 'the check names the place' says "client secret: read from $plain" tink-sync check
check 'nothing of root was left in the store' is tink-sync owners
check 'a rehearsal by hand' tink-sync run --dry-run
check 'status by hand' tink-sync status
check 'still nothing of root' is tink-sync owners

chmod 644 $plain
check 'an open secret is refused by the check' exits 78 tink-sync check
check 'with the remedy' says "chmod 600 $plain" tink-sync check
rm $plain

seal "$MARK"
check 'an encrypted secret is enough' start
check 'by hand as well' tink-sync run
check 'the check names that place' says "client secret: read from $sealed" tink-sync check
check 'ciphertext may be read by all' exits 0 tink-sync check
printf 'wrong\n' >$plain
check 'an encrypted one comes first' start
check 'by hand as well' tink-sync run
rm $plain
mv $sealed /root/tink-sync.other
cp /root/tink-sync.other $sealed
sed -i 's/^....../AAAAAA/' $sealed
check 'a damaged one fails the unit' not start
check 'at its credentials' failed_with 243
check 'by hand it is told' says 'credential `tink-sync.client-secret` cannot be decrypted' tink-sync run
rm $sealed

# In a file that the configuration names.
configure "tink.client_secret_file = '/etc/tink-sync/secret'"
(umask 077 && echo "$MARK" >/etc/tink-sync/secret)
check 'a file of root does not help the service' not start
check 'and it says who needs access' says 'setfacl -m u:tink-sync:r' journalctl -u tink-sync -p err -o cat --no-pager -n 5
chown tink-sync: /etc/tink-sync/secret
check 'a file of the service does' start
chmod 644 /etc/tink-sync/secret
check 'one that is open is refused by the check' exits 78 tink-sync check
check 'with the remedy' says 'chmod 600 /etc/tink-sync/secret' tink-sync check
rm /etc/tink-sync/secret
configure
credential

# Another user.
check 'a stranger reads nothing' exits 78 sudo -u nobody tink-sync status
check 'and is told the way' says 'sudo tink-sync' sudo -u nobody tink-sync status
check 'the service user by sudo reads the store' sudo tink-sync status
echo 'nobody ALL=(root) NOPASSWD: /usr/bin/tink-sync' >/etc/sudoers.d/test
check 'somebody with sudo runs a pass' sudo -u nobody sudo -n tink-sync run
check 'still nothing of root' is tink-sync owners

# While it runs, nobody sees the secret in its command line or environment.
control latency '{"ms":1000}'
pass_under_way
process=$(systemctl show -P MainPID tink-sync.service)
visible() { tr '\0' '\n' <"/proc/$process/$1" | grep -c "$MARK"; }
check 'not in the command line' is 0 visible cmdline
check 'not in the environment' is 0 visible environ
check 'a core dump is impossible' until_true says 'Max core file size +0 +0' cat "/proc/$process/limits"
control latency '{"ms":0}'
until_true is inactive systemctl is-active tink-sync.service
check 'no file of the store holds it' not grep -rl "$MARK" /var/lib/tink-sync
finish
