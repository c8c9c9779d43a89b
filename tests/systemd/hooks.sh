#!/usr/bin/env bash
# Hooks: a pass that has something to tell starts their units and runs none itself; what a hook can reach; what
# becomes of one that fails; and that no unit is started for ever.
# shellcheck disable=SC2016 # the hooks expand what stands in their text
set -uo pipefail
. ./lib.sh
readonly HOOKS=/etc/tink-sync/hooks SPOOL=/var/lib/tink-sync/hooks EXAMPLES=/usr/share/doc/tink-sync/examples

# hook KIND LINE...: a program for events of this kind; what it prints goes to the journal.
hook() {
    local kind=$1
    shift
    printf '%s\n' '#!/bin/sh' "$@" >"$HOOKS/$kind"
    chmod 755 "$HOOKS/$kind"
}
path_is() { is "$2" systemctl is-active "tink-sync-hook@$1.path"; }
empty() { is '' ls "$SPOOL/$1"; }
said() { journalctl --sync; journalctl -u 'tink-sync-hook@*' -o cat --no-pager; }
told() { said | grep "\"event\":\"$1\""; }
count() { "$@" | wc -l; }
owner_and_mode() { stat -c '%U:%G %a' "$1"; }
quiet() { is inactive systemctl is-active "tink-sync-hook@$1.service"; }
# How often a unit was started since the machine was.
starts() {
    journalctl --sync
    journalctl -u "$1" -o cat --no-pager | grep -c '^Starting '
}

sandbox --users 6 --history-days 10
application 3
configure
credential

# Events wait in places of their own.
check 'the programs are root'"'"'s' is 'root:root 755' owner_and_mode $HOOKS
check 'the queue is open to the service and to hooks' is 'tink-sync:tink-sync-hook 2770' owner_and_mode $SPOOL/needs-user
check 'no hook, nothing to tell' start
check 'nothing is written for nobody' empty new-transactions
check 'the check says so' says 'hooks: none' tink-sync check

# A pass with something to tell.
install -m 755 $EXAMPLES/hook-log $HOOKS/new-transactions
check 'the check says what to type' says 'systemctl enable --now tink-sync-hook@new-transactions.path' tink-sync check
application 4
start
check 'the pass runs no hook itself' is 1 count ls $SPOOL/new-transactions
check 'the event is for the service and hooks only' says '^tink-sync:tink-sync-hook 640$' \
    owner_and_mode $SPOOL/new-transactions/*
check 'an event that waits is told once its unit is enabled' systemctl enable --now --quiet \
    tink-sync-hook@new-transactions.path
check 'within seconds' until_true empty new-transactions
check 'as JSON' until_true told new-transactions
check 'the check is content' says 'hooks: new-transactions' tink-sync check
application 6
start
check 'the next pass starts it' until_true is 3 count told new-transactions
check 'each connection once' is 3 count told new-transactions
check 'of the right user' says '"user_id":"u-5"' told new-transactions
check 'and is done with it' until_true quiet new-transactions
check 'the path waits on' path_is new-transactions active
rm $HOOKS/new-transactions
systemctl disable --now --quiet tink-sync-hook@new-transactions.path

# What a hook can reach.
hook pass-failed 'echo "me=$(id -un)"' 'echo "environment=$(env | cut -d= -f1 | sort | tr "\n" " ")"' \
    'for place in /var/lib/tink-sync/tink-sync.db /etc/tink-sync/tink-sync.toml /etc/credstore/tink-sync.client-secret /run/credentials/tink-sync.service /home/someone/file; do' \
    'cat $place/* $place >/dev/null 2>&1 && echo "reads $place"; done' \
    'ls -A /var/lib/tink-sync /etc/tink-sync | tr "\n" " "' \
    'for place in /etc /usr /var/lib /etc/tink-sync/hooks /var/lib/tink-sync; do touch $place/mark 2>/dev/null && echo "writes $place"; done' \
    'for place in /var/lib/tink-sync/hooks /var/lib/tink-sync/hooks/pass-failed /var/lib/tink-sync/hooks/failed/pass-failed; do mkdir $place/run-1-0000000001.json 2>/dev/null && echo "writes $place"; done' \
    'cat >/dev/null; head -c 100M /dev/zero >/tmp/much 2>/dev/null || echo "tmp is full"; rm -f /tmp/much' \
    'kill -STOP $PPID 2>/dev/null && echo "stops what tells it"' 'echo "kinds: $(ls -A /var/lib/tink-sync/hooks | tr "\n" " ")"' \
    'touch /tmp/mark && echo "writes /tmp"' 'cat /proc/1/environ >/dev/null 2>&1 && echo "sees others"' \
    'curl -sS -o /dev/null '"$API"'/ && echo "reaches the network"' 'echo END'
useradd -m someone
echo secret >/home/someone/file
chmod -R a+rX /home/someone
systemctl enable --now --quiet tink-sync-hook@pass-failed.path
control faults '{"action":"status","code":403,"endpoint":"accounts","times":0}' >/dev/null
check 'a pass that fails' not start
check 'its hook is run' until_true says '^END$' said
check 'as a user of its own' says '^me=tink-sync-hook$' said
check 'with nothing of ours in its environment' \
    says '^environment=HOME LANG (OLDPWD )?PATH PWD (SHLVL )?TINK_SYNC_EVENT( _)? ?$' said
check 'it reads nothing of ours' not says '^reads ' said
check 'it sees the events and its program only' says '^/etc/tink-sync: hooks *|hooks' said
check 'it writes in its own /tmp' says '^writes /tmp$' said
check 'and nowhere else' not says '^writes /[^t]' said
check 'it sees no other kind' says '^kinds: failed pass-failed *$' said
check 'its /tmp has a limit' says '^tmp is full$' said
check 'it cannot hold up what tells it' not says '^stops what tells it' said
check 'it sees no other process' not says '^sees ' said
check 'it reaches the network' says '^reaches the network$' said
check 'no credential is loaded' not grep -qE '^(Load|Set|Import)Credential' /usr/lib/systemd/system/tink-sync-hook@.service
check 'and none is there' not test -e /run/credentials/tink-sync-hook@pass-failed.service
# Of its temporary files the score sees PrivateTmp= only.
check 'the exposure is at most 1.2' systemd-analyze security --offline=true --threshold=12 --no-pager \
    /usr/lib/systemd/system/tink-sync-hook@.service

# A hook that fails, over and over.
until_true quiet pass-failed
drop_in tink-sync-hook@.service '[Service]' 'ExecStart=' \
    'ExecStart=/usr/bin/tink-sync hook --event=%i --retry=100ms,100ms --timeout=2s'
hook pass-failed 'echo attempt' 'exit 1'
before=$(starts tink-sync-hook@pass-failed.service)
check 'a pass that fails again' not start
check 'its event is put aside' until_true is 1 count ls $SPOOL/failed/pass-failed
attempts() { said | grep -c '^attempt$'; }
check 'after three attempts' is 3 attempts
until_true quiet pass-failed
sleep 3
check 'nothing is started for it any more' is $((before + 1)) starts tink-sync-hook@pass-failed.service
check 'the path waits on for the next' path_is pass-failed active
check 'the journal explains it' says 'sudo tink-sync hook retry pass-failed' journalctl -x -u 'tink-sync-hook@*' --no-pager
check 'the check tells of it' says 'pass-failed failed, and 1 event given up' tink-sync check
hook pass-failed 'cat' 'echo GOT'
check 'it is brought back by a command' says '^pass-failed: 1 event told again$' tink-sync hook retry pass-failed
check 'what was put aside is told when it is put back' until_true says '^GOT$' said

# Tried by hand, through the unit.
check 'a sample event is told' says '^pass-failed: delivered' tink-sync hook test pass-failed
check 'and says what it is' says '"test":true' said
hook pass-failed 'exit 1'
check 'a hook that fails at it is told of at once' exits 10 tink-sync hook test pass-failed
check 'and leaves nothing' is '' ls $SPOOL/failed/pass-failed
check 'where no unit runs it, that is said' says 'systemctl enable --now tink-sync-hook@recovered.path' tink-sync hook test recovered

# What a hostile hook might have left before: whatever it is, it is moved out of the way and holds nobody up.
hook pass-failed 'cat' 'echo GOT PAST'
mkfifo $SPOOL/pass-failed/0.json
ln -s /etc/shadow $SPOOL/pass-failed/1.json
mkdir -p $SPOOL/pass-failed/2.json/deep
chown -hR tink-sync-hook: $SPOOL/pass-failed
chown tink-sync:tink-sync-hook $SPOOL/pass-failed
check 'an event beside them is told' says '^pass-failed: delivered' tink-sync hook test pass-failed
check 'in its own words' until_true says '^GOT PAST$' said
until_true quiet pass-failed
check 'nothing waits any more' empty pass-failed
check 'the check tells of them' says 'has left 3 things where its events come' tink-sync check
check 'no secret was told' not says '^root:' said
check 'they are removed by a command' says '^3 files removed$' tink-sync hook drop pass-failed

# A hook that hangs.
hook pass-failed 'sleep 1000'
check 'another failed pass' not start
check 'a hook that hangs is killed and its event kept' until_true is 1 count ls $SPOOL/failed/pass-failed
until_true quiet pass-failed
check 'nothing of it is left' not pgrep -u tink-sync-hook
rm $SPOOL/failed/pass-failed/*

# A service that cannot even be started gives up, and says so.
drop_in tink-sync-hook@.service '[Service]' 'ExecStart=' 'ExecStart=/usr/bin/false'
check 'one more failed pass' not start
check 'the path fails instead of starting it for ever' until_true path_is pass-failed failed
check 'after a few attempts' test "$(starts tink-sync-hook@pass-failed.service)" -lt 60
check 'the alert is raised' until_true says 'tink-sync-hook@pass-failed.path failed' \
    journalctl -t tink-sync --no-pager
check 'the check says what to do' says 'systemctl restart tink-sync-hook@pass-failed.path' tink-sync check
check 'no event is lost' is 1 count ls $SPOOL/pass-failed
no_drop_in tink-sync-hook@.service
hook pass-failed 'echo AT LAST'
systemctl reset-failed
systemctl restart tink-sync-hook@pass-failed.path
check 'it is told afterwards' until_true says '^AT LAST$' said

# The ready-made ones.
cat >/usr/local/lib/receive.pl <<'PERL'
# Takes one connection, answers line by line as a mail server or once as a web server, and prints what came.
use strict;
use IO::Socket::INET;
my ($port, $kind) = @ARGV;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port, Listen => 1, ReuseAddr => 1) or die;
open my $ready, '>', "/t/ready-$kind"; close $ready;
my $client = $server->accept;
$| = 1; $client->autoflush(1);
if ($kind eq 'mail') {
    print $client "220 here\r\n";
    my $data = 0;
    while (my $line = <$client>) {
        print $line;
        if ($data) { next unless $line eq ".\r\n"; $data = 0; print $client "250 taken\r\n"; }
        elsif ($line =~ /^DATA/i) { $data = 1; print $client "354 go\r\n"; }
        elsif ($line =~ /^QUIT/i) { print $client "221 bye\r\n"; last; }
        else { print $client "250 fine\r\n"; }
    }
} else {
    my $length = 0;
    while (my $line = <$client>) { print $line; $length = $1 if $line =~ /^content-length: (\d+)/i; last if $line eq "\r\n"; }
    read $client, my $body, $length;
    print "$body\n";
    print $client "HTTP/1.1 204 Fine\r\nConnection: close\r\n\r\n";
}
PERL
perl /usr/local/lib/receive.pl 2525 mail >/t/mail &
perl /usr/local/lib/receive.pl 8080 web >/t/web &
until_true test -e /t/ready-mail -a -e /t/ready-web
sed 's|^SERVER=.*|SERVER=smtp://127.0.0.1:2525|' $EXAMPLES/hook-mail >$HOOKS/pass-failed
check 'a failed pass for the mail' not start
check 'the mail is sent' until_true grep -q '^Subject: tink-sync: pass-failed' /t/mail
check 'with the event in it' until_true grep -q '"exit_code":10' /t/mail
until_true quiet pass-failed
printf 'X-Token: of the operator\n' >/etc/tink-sync-webhook.headers
chown root:tink-sync-hook /etc/tink-sync-webhook.headers
chmod 640 /etc/tink-sync-webhook.headers
sed 's|^URL=.*|URL=http://127.0.0.1:8080/hook|' $EXAMPLES/hook-webhook >$HOOKS/pass-failed
check 'a failed pass for the web server' not start
check 'it is posted' until_true grep -q '"event":"pass-failed"' /t/web
check 'with the header of the operator' grep -q '^X-Token: of the operator' /t/web
check 'and nothing was given up' is '' ls $SPOOL/failed/pass-failed

# The end of the package.
faults_end >/dev/null 2>&1
hook needs-user 'sleep 1000'
systemctl enable --now --quiet tink-sync-hook@needs-user.path
printf '{"schema":1}\n' >$SPOOL/needs-user/x.json
until_true is activating systemctl is-active tink-sync-hook@needs-user.service
check 'it is removed while a hook runs' dpkg -r tink-sync
check 'no path is left' is '' systemctl list-units --all --plain --no-legend --state=active 'tink-sync-hook*'
check 'no hook is left' not pgrep -u tink-sync-hook
check 'the events stay' test -e $SPOOL/needs-user/x.json
check 'it is purged' dpkg -P tink-sync
check 'the links are gone' is '' find /etc/systemd/system -name 'tink-sync-hook*'
check 'the programs of the operator stay' test -e $HOOKS/needs-user
check 'nothing of it is left for systemd' is '' systemctl list-units --all --plain --no-legend 'tink-sync*'
finish
