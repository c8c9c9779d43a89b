#!/usr/bin/env bash
# The sandbox of the units, by attempt: the same program tries the same things with and without it.
set -uo pipefail
. ./lib.sh
cat >/usr/local/lib/attempts.pl <<'PERL'
# Tries what a break-in would try; prints one word for each that works, and each directory that can be written.
use strict;
use Config;
use Socket qw(:all);
sub attempt { my ($name, $try) = @_; print "$name\n" if eval { $try->() } }
# By number, since perl knows no names.
my $arm = $Config{archname} =~ /aarch64/;
my ($mmap, $mprotect, $unshare, $memfd) = $arm ? (222, 226, 97, 279) : (9, 10, 272, 319);
my $place = $ENV{PLACE};
sub runs { system(@_) == 0 }
sub content { open my $f, '<', $_[0] or die; local $/; <$f> }
sub copy { my ($from, $to) = @_; unlink $to; open my $f, '>', $to or die; print $f content($from); close $f; chmod 0755, $to; $to }

# An unprivileged user without capabilities.
attempt('be-root', sub { $< = 0; $< == 0 });
attempt('capabilities', sub { content('/proc/self/status') =~ /^Cap(Eff|Prm|Bnd):\s*0*[1-9a-f]/m });
attempt('set-id-file', sub { my $path = copy('/bin/true', "$place/file"); chmod 04755, $path and ((stat $path)[2] & 04000) });
attempt('new-namespace', sub { syscall($unshare, 0x04000000) != -1 });
attempt('other-processes', sub { -e '/proc/1/status' });

# It sees no home and no secret of others, and writes one directory.
attempt('read-home', sub { open my $f, '<', '/home/someone/file' });
attempt('read-root', sub { open my $f, '<', '/root/file' });
attempt('read-credstore', sub { open my $f, '<', '/etc/credstore/tink-sync.client-secret' });
attempt('read-configuration', sub { open my $f, '<', '/etc/tink-sync/tink-sync.toml' });
attempt('read-store', sub { open my $f, '<', '/var/lib/tink-sync/tink-sync.db' });
attempt('write-app', sub { open my $f, '>>', '/var/lib/app/app.db' });
for my $directory ('/', map { glob "$_/*" } '', '/etc', '/usr', '/usr/lib', '/var', '/var/lib', '/run', '/dev', '/var/lib/tink-sync/hooks') {
    next unless -d $directory && ! -l $directory && $directory !~ m{^/(t|s)$};
    next unless open my $f, '>', "$directory/attempt";
    print "writes $directory\n";
    unlink "$directory/attempt";
    attempt('run-written', sub { runs(copy('/bin/true', "$directory/program")) });
    attempt('map-written', sub { open my $f, '<', "$directory/program" or die; syscall($mmap, 0, 4096, 5, 2, fileno($f), 0) != -1 });
    unlink "$directory/program";
}
attempt('private-tmp', sub { ! -e '/tmp/seen-by-all' });

# It executes nothing but this program.
attempt('run-shell', sub { runs('/bin/sh', '-c', 'true') });
attempt('run-in-lib', sub { runs('/usr/lib/browser/browser') });
attempt('run-in-libraries', sub { runs("$ENV{LIBRARIES}/helper/helper") });
attempt('run-by-loader', sub { runs($ENV{LOADER}, '/bin/true') });
sub nameless {
    my $fd = syscall($memfd, my $name = 'x', 0);
    die if $fd == -1;
    open my $f, '>&=', $fd or die;
    syswrite $f, content('/bin/true');
    return ($fd, $f);
}
attempt('run-nameless', sub {
    my ($fd, $f) = nameless();
    $^F = 100;
    my $pid = fork();
    if (!$pid) { open my $same, '<', "/proc/self/fd/$fd"; close $f; exec { "/proc/self/fd/" . fileno($same) } 'x'; exit 1 }
    waitpid $pid, 0;
    $? == 0;
});

# It makes no memory executable.
attempt('write-and-execute', sub { syscall($mmap, 0, 4096, 7, 0x22, -1, 0) != -1 });
attempt('make-executable', sub { my $page = syscall($mmap, 0, 4096, 3, 0x22, -1, 0); syscall($mprotect, $page, 4096, 5) != -1 });
attempt('map-nameless', sub { my ($fd, $f) = nameless(); syscall($mmap, 0, 4096, 5, 2, $fd, 0) != -1 });

# It opens no listening port, and no socket of odd kinds.
attempt('bind-port', sub { socket my $s, AF_INET, SOCK_STREAM, 0; bind $s, pack_sockaddr_in(8999, INADDR_ANY) });
attempt('listen', sub { socket my $s, AF_INET, SOCK_STREAM, 0; listen $s, 1 });
attempt('listen-6', sub { socket my $s, AF_INET6, SOCK_STREAM, 0; listen $s, 1 });
attempt('raw-socket', sub { socket my $s, AF_INET, SOCK_RAW, 1 });
attempt('packet-socket', sub { socket my $s, 17, SOCK_RAW, 0 });
attempt('netlink', sub { socket my $s, 16, SOCK_RAW, 0 });

# It asks no cloud for the machine's credentials.
for my $address ('127.0.0.1', '169.254.169.254', '169.254.7.7', '100.100.100.200', '192.0.0.192') {
    attempt("connect-$address", sub {
        socket my $s, AF_INET, SOCK_STREAM, 0;
        local $SIG{ALRM} = sub { die };
        alarm 2;
        my $done = connect $s, pack_sockaddr_in(8089, inet_aton($address));
        alarm 0;
        $done;
    });
}
for my $address ('fd00:ec2::254', 'fe80::1') {
    attempt("connect-$address", sub {
        socket my $s, AF_INET6, SOCK_STREAM, 0;
        local $SIG{ALRM} = sub { die };
        alarm 2;
        my $done = connect $s, pack_sockaddr_in6(8089, inet_pton(AF_INET6, $address), 1);
        alarm 0;
        $done;
    });
}

# Nothing of it is ever a core file.
attempt('core-files', sub { content('/proc/self/limits') !~ /^Max core file size +0 +0 /m });
PERL
cat >/usr/local/lib/addresses.pl <<'PERL'
# Gives this machine the addresses at which clouds keep credentials, and answers there.
use strict;
use Socket qw(:all);
socket my $four, AF_INET, SOCK_DGRAM, 0;
socket my $six, AF_INET6, SOCK_DGRAM, 0;
my $n = 0;
for my $address ('169.254.169.254', '169.254.7.7', '100.100.100.200', '192.0.0.192') {
    ioctl $four, 0x8916, pack('a16 a16', 'lo:' . $n++, pack_sockaddr_in(0, inet_aton($address))) or warn "$address: $!";
}
for my $address ('fd00:ec2::254', 'fe80::1') {
    ioctl $six, 0x8916, pack('a16 L l', inet_pton(AF_INET6, $address), 128, 1) or warn "$address: $!";
}
socket my $server, AF_INET6, SOCK_STREAM, 0;
setsockopt $server, IPPROTO_IPV6, IPV6_V6ONLY, pack('i', 1);
bind $server, pack_sockaddr_in6(8089, IN6ADDR_ANY) or die "bind: $!";
listen $server, 10;
socket my $other, AF_INET, SOCK_STREAM, 0;
setsockopt $other, SOL_SOCKET, SO_REUSEADDR, pack('i', 1);
bind $other, pack_sockaddr_in(8089, INADDR_ANY) or die "bind: $!";
listen $other, 100;
open my $ready, '>', '/t/addresses'; close $ready;
sleep;
PERL
useradd -m someone
echo secret >/home/someone/file
chmod 755 /home/someone
echo secret >/root/file
touch /tmp/seen-by-all
application 1
credential
configure
install -o tink-sync -g tink-sync-read -m 640 /dev/null $STORE
libraries=$(dirname "$(realpath /lib/*-linux-gnu/libc.so.6)")
loader=$(ls /lib64/ld-linux-*.so.* /lib/ld-linux-*.so.* 2>/dev/null | head -n 1)
# Programs as they lie among libraries: a browser, an interpreter.
mkdir -p /usr/lib/browser "$libraries/helper"
cp /bin/true /usr/lib/browser/browser
cp /bin/true "$libraries/helper/helper"
perl /usr/local/lib/addresses.pl >/t/addresses.log 2>&1 &
until_true test -e /t/addresses

# try UNIT [STARTED [LINE...]]: the attempts in the place of its program. Perl and its libraries become executable for
# that, since a script needs its interpreter; all else stays as it is.
try() {
    local unit=$1 started=${2:-$1}
    shift $(($# < 2 ? $# : 2))
    drop_in "$unit" '[Service]' 'ExecStart=' "ExecStart=/usr/bin/perl /usr/local/lib/attempts.pl" \
        "ExecPaths=/usr/bin/perl $libraries/perl-base $(ldd /usr/bin/perl | sed -n 's|.*=> \([^ ]*\) .*|\1|p' | xargs realpath | paste -sd ' ')" \
        "Environment=PLACE=/var/lib/tink-sync LIBRARIES=$libraries LOADER=$loader" "StandardOutput=append:/t/attempts" "$@"
    : >/t/attempts && chmod 666 /t/attempts
    systemctl start "$started"
    no_drop_in "$unit"
    cat /t/attempts
}
pass=$(try tink-sync.service)
single=$(try tink-sync@.service tink-sync@c-0.service)
free=$(PLACE=/root LIBRARIES=$libraries LOADER=$loader perl /usr/local/lib/attempts.pl)

for attempt in be-root capabilities set-id-file new-namespace other-processes read-home read-root read-credstore write-app \
    run-shell run-in-lib run-in-libraries run-by-loader run-written run-nameless \
    write-and-execute make-executable map-nameless map-written bind-port listen listen-6 raw-socket packet-socket netlink \
    connect-169.254.169.254 connect-169.254.7.7 connect-100.100.100.200 connect-192.0.0.192 connect-fd00:ec2::254 connect-fe80::1 \
    core-files; do
    check "without the sandbox: $attempt" grep -qx -- $attempt <<<"$free"
    check "in a pass: no $attempt" not grep -qx -- $attempt <<<"$pass"
    check "on demand: no $attempt" not grep -qx -- $attempt <<<"$single"
done
for attempt in 'writes /var/lib/tink-sync' private-tmp connect-127.0.0.1 read-configuration read-store; do
    check "in a pass: $attempt" grep -qx "$attempt" <<<"$pass"
    check "on demand: $attempt" grep -qx "$attempt" <<<"$single"
done
written() { sed -n 's/^writes //p' <<<"$1" | LC_ALL=C sort | paste -sd ' '; }
own='/tmp /var/lib/tink-sync /var/tmp'
# The queues of hooks lie in it.
for queue in failed consent-soon first-failure needs-user new-transactions pass-failed recovered; do own+=" /var/lib/tink-sync/hooks/$queue"; done
check 'a pass writes one directory, and its own temporary ones' within "$own" "$(written "$pass")"
check 'on demand too' within "$own" "$(written "$single")"

# A hook: it may run programs and use the network, and has nothing of the service's but one queue.
printf '#!/bin/sh\nexit 0\n' >/etc/tink-sync/hooks/needs-user
chmod 755 /etc/tink-sync/hooks/needs-user
hook=$(try tink-sync-hook@.service tink-sync-hook@needs-user.service 'Environment=PLACE=/tmp')
for attempt in be-root capabilities set-id-file new-namespace other-processes read-home read-root read-credstore \
    read-configuration read-store write-app write-and-execute make-executable listen listen-6 raw-socket \
    packet-socket netlink connect-169.254.169.254 connect-169.254.7.7 connect-100.100.100.200 connect-192.0.0.192 \
    connect-fd00:ec2::254 connect-fe80::1 core-files; do
    check "in a hook: no $attempt" not grep -qx -- $attempt <<<"$hook"
done
for attempt in run-shell private-tmp connect-127.0.0.1; do
    check "in a hook: $attempt" grep -qx "$attempt" <<<"$hook"
done
check 'a hook writes nowhere else' within '/dev/shm /tmp /var/lib/tink-sync/hooks/needs-user /var/tmp' "$(written "$hook")"
check 'its own temporary files have a limit' says '^(64M 64M)$' \
    bash -c 'sed -n "s/.*TemporaryFileSystem=\/tmp:.*size=\([0-9]*M\).*\/var\/tmp:.*size=\([0-9]*M\).*/\1 \2/p;" /usr/lib/systemd/system/tink-sync-hook@.service'

# The alert: its user is thrown away afterwards, reads the journal and nothing of ours.
alert=$(try tink-sync-failure@.service tink-sync-failure@test.service 'Environment=PLACE=/tmp')
for attempt in be-root capabilities set-id-file new-namespace other-processes read-home read-root read-credstore \
    read-configuration read-store write-app write-and-execute make-executable listen raw-socket packet-socket netlink \
    connect-127.0.0.1 connect-169.254.169.254 core-files; do
    check "in the alert: no $attempt" not grep -qx -- $attempt <<<"$alert"
done

# No interpreter at all can be started in the place of the program.
starts() {
    drop_in tink-sync.service '[Service]' 'ExecStart=' "ExecStart=$*"
    start
}
for program in '/bin/sh -c true' '/usr/bin/perl -e 1' /usr/lib/browser/browser "$libraries/helper/helper"; do
    check "cannot be started: $program" not starts "$program"
    check 'because it may not be executed' is 203 systemctl show -P ExecMainStatus tink-sync.service
done
check 'nor by the loader' not starts "$loader /bin/true"
no_drop_in tink-sync.service

# The memory of a process that has the secret: neither its own user looks into it nor does a core file hold it.
kill %1 && wait %1
sandbox --users 1
control faults '{"action":"hang","times":0}' >/dev/null
memory_is_closed() {
    local pid=$1
    until_true says '^Uid:\s+[1-9]' grep ^Uid: "/proc/$pid/status" || return
    for file in environ maps mem; do
        not sudo -u tink-sync head -c 1 "/proc/$pid/$file" || return
    done
    not sudo -u tink-sync ls "/proc/$pid/fd" || return
    says '^Max core file size +0 +0 ' cat "/proc/$pid/limits"
}
systemctl start --no-block tink-sync.service
until_true test "$(systemctl show -P MainPID tink-sync.service)" != 0
check 'in a pass the memory is closed' memory_is_closed "$(systemctl show -P MainPID tink-sync.service)"
systemctl stop tink-sync.service
ulimit -c unlimited
mkdir -m 777 /t/cores && cd /t/cores || exit 1
perl -e 'kill ABRT => $$'
cores=$(ls /t/cores)
rm -f /t/cores/*
SSH_AUTH_SOCK=/root/agent tink-sync run 2>/dev/null &
check 'by hand too' memory_is_closed $!
check 'and nothing is left of the environment of root' not grep -qz SSH_AUTH_SOCK "/proc/$!/environ"
kill -ABRT $!
wait $!
cd /s || exit 1
# Where the machine writes core files of others at all.
if [[ -n $cores ]]; then
    check 'no core file is left' is '' ls /t/cores
fi

check 'both units are confined alike' is '' diff <(sed -n '/^User=/,$p' /usr/lib/systemd/system/tink-sync.service) \
    <(sed -n '/^User=/,$p' /usr/lib/systemd/system/tink-sync@.service)
for unit in tink-sync.service tink-sync@.service tink-sync-failure@.service; do
    check "the exposure of $unit is at most 1.1" systemd-analyze security --offline=true --threshold=11 --no-pager \
        "/usr/lib/systemd/system/$unit"
done
finish
