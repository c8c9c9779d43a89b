//! Whether the sandbox of the unit lets a pass reach what the configuration names: much may work by hand that
//! the unit forbids. Judges the unit's properties as systemd shows them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::cli::timer::state::systemctl;
use crate::config::Settings;
use crate::exit::Exit;
use crate::store::Place;

const UNIT: &str = "tink-sync.service";
const PROPERTIES: &str = "LoadState,ProtectSystem,ProtectHome,StateDirectory,ReadWritePaths,BindPaths,BindReadOnlyPaths,IPAddressDeny,IPAddressAllow";
/// Lists the DNS servers, unless a service of this machine resolves names.
const RESOLVERS: &str = "/etc/resolv.conf";

/// Findings about what the unit may reach; empty if systemd does not run or the unit is not installed.
pub(super) fn findings(settings: &Settings) -> Vec<Finding> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Vec::new();
    }
    systemctl(&["show", UNIT, "--property", PROPERTIES]).map_or_else(
        |_| Vec::new(),
        |answer| judge(&answer, settings, &std::fs::read_to_string(RESOLVERS).unwrap_or_default()),
    )
}

fn judge(answer: &str, settings: &Settings, resolvers: &str) -> Vec<Finding> {
    let value = |name: &str| {
        answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default()
    };
    if value("LoadState") != "loaded" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    if value("ProtectSystem") == "strict" {
        let writable = writable(value("StateDirectory"), value("ReadWritePaths"), value("BindPaths"));
        findings.extend(
            written(settings).into_iter().filter(|(_, path)| !below(path, &writable)).map(not_writable),
        );
    }
    if matches!(value("ProtectHome"), "yes" | "tmpfs") {
        let bound = format!("{} {}", value("BindPaths"), value("BindReadOnlyPaths"));
        let hidden = |path: &Path| {
            let homes = ["/home", "/root", "/run/user"].map(PathBuf::from);
            below(path, &homes) && !below(path, &paths(&bound))
        };
        let seen = read(settings).into_iter().filter(|(_, path)| hidden(path));
        findings.extend(seen.map(|(key, path)| not_visible(key, path)));
    }
    findings.extend(resolver_out_of_reach(value("IPAddressDeny"), value("IPAddressAllow"), resolvers));
    if findings.is_empty() {
        findings.push(Finding::ok("unit", format!("{UNIT} reaches what the configuration names")));
    }
    findings
}

/// The unit denies link-local addresses, at which some clouds and home routers resolve names.
fn resolver_out_of_reach(deny: &str, allow: &str, resolvers: &str) -> Option<Finding> {
    // Blanks or tabs stand between the words of a line.
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next().filter(|key| *key == "nameserver").and_then(|_| words.next())?;
        address.split('%').next()?.parse().ok()
    };
    let servers: Vec<IpAddr> = resolvers.lines().filter_map(server).collect();
    let is_in = |list: &str, server: IpAddr| list.split_whitespace().any(|net| is_within(server, net));
    let is_denied = |server: &IpAddr| is_in(deny, *server) && !is_in(allow, *server);
    let first = servers.first().copied()?;
    servers.iter().all(is_denied).then(|| {
        Finding::warn(
            "unit",
            format!("{UNIT} does not reach {first}, which resolves names here"),
            format!("systemctl edit {UNIT} and tink-sync@.service: [Service] IPAddressAllow={first}"),
        )
    })
}

/// Whether an address is in a net, written `address/prefix length` or as one address.
fn is_within(address: IpAddr, net: &str) -> bool {
    let (base, prefix) = net.split_once('/').unwrap_or((net, ""));
    // The first bits are the highest, so what is behind the prefix is shifted out.
    let bits = |address: IpAddr| match address {
        IpAddr::V4(four) => (u128::from(four.to_bits()), 32),
        IpAddr::V6(six) => (six.to_bits(), 128),
    };
    let Ok(base) = base.parse() else { return false };
    let ((address, length), (base, length_of_base)) = (bits(address), bits(base));
    let prefix = if prefix.is_empty() { Ok(length) } else { prefix.parse() };
    let behind = prefix.ok().and_then(|prefix: u32| length.checked_sub(prefix));
    let differ = address ^ base;
    length == length_of_base && behind.is_some_and(|behind| differ.checked_shr(behind).unwrap_or(0) == 0)
}

/// The files a pass reads, with their configuration keys.
fn read(settings: &Settings) -> Vec<(&'static str, &Path)> {
    let source = settings.source.database.as_ref().and_then(Place::file);
    let source = source.map(|path| ("source.database", path));
    let secrets = settings.secret_files().into_iter().map(|(key, path)| (key, path.as_path()));
    source.into_iter().chain(secrets).collect()
}

/// The directories in which a pass creates or replaces files, with their configuration keys.
fn written(settings: &Settings) -> Vec<(&'static str, PathBuf)> {
    let store = settings.store.url.file().map(|path| ("store.url", path));
    let metrics = settings.report.metrics_file.as_deref().map(|path| ("report.metrics_file", path));
    let all = [store, metrics].into_iter().flatten();
    all.filter_map(|(key, path)| Some((key, path.parent()?.to_owned()))).collect()
}

fn writable(state: &str, paths_of_unit: &str, bound: &str) -> Vec<PathBuf> {
    let state = state.split_whitespace().map(|name| Path::new("/var/lib").join(name));
    state.chain(paths(paths_of_unit)).chain(paths(bound)).collect()
}

/// The paths of a list as systemd shows it; a bound one is `there:here:options`.
fn paths(list: &str) -> Vec<PathBuf> {
    let place = |entry: &str| {
        let mut parts = entry.split(':');
        let first = parts.next().unwrap_or_default();
        PathBuf::from(parts.next().unwrap_or(first).trim_start_matches(['-', '+']))
    };
    list.split_whitespace().map(place).collect()
}

fn below(path: &Path, places: &[PathBuf]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

fn not_writable((key, path): (&'static str, PathBuf)) -> Finding {
    let shown = path.display();
    let text = format!("{UNIT} may not write to {shown} ({key}), although it works by hand");
    let remedy = format!("systemctl edit {UNIT}, and there: [Service] ReadWritePaths={shown}");
    if key == "store.url" {
        Finding::fail(Exit::Database, "unit", text).remedy(remedy)
    } else {
        Finding::warn("unit", text, remedy)
    }
}

fn not_visible(key: &'static str, path: &Path) -> Finding {
    let directory = path.parent().unwrap_or(path).display();
    let text = format!("{UNIT} does not see {} ({key}), although it works by hand", path.display());
    let remedy = format!(
        "systemctl edit {UNIT}, and there: [Service] ProtectHome=tmpfs and BindReadOnlyPaths={directory}"
    );
    let exit = if key == "source.database" { Exit::Database } else { Exit::Configuration };
    Finding::fail(exit, "unit", text).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::Grade;
    use crate::cli::fixture::{self, Fixture};

    /// The properties of the shipped unit.
    const SHIPPED: &str = "LoadState=loaded\nProtectSystem=strict\nProtectHome=yes\nStateDirectory=tink-sync\nReadWritePaths=\nBindPaths=\nBindReadOnlyPaths=\n";

    fn grades(answer: &str, store: &str, metrics: &str, source: &str) -> Vec<Grade> {
        let mut settings = Fixture::new().env().settings;
        settings.store.url = Place::Sqlite(store.into());
        settings.report.metrics_file = Some(metrics).filter(|path| !path.is_empty()).map(PathBuf::from);
        settings.source.database =
            Some(source).filter(|path| !path.is_empty()).map(|path| Place::Sqlite(path.into()));
        judge(answer, &settings, "").iter().map(|finding| finding.grade).collect()
    }

    #[test]
    fn what_the_unit_may_not_write_is_told_before_a_pass_finds_out() {
        let (store, metrics) = ("/var/lib/tink-sync/tink-sync.db", "/var/lib/node_exporter/tink_sync.prom");
        assert_eq!(grades(SHIPPED, store, "", ""), [Grade::Ok]);
        assert_eq!(grades(SHIPPED, "/srv/bank.db", "", ""), [Grade::Fail(Exit::Database)]);
        assert_eq!(grades(SHIPPED, "/var/lib/tink-sync-2/a.db", "", ""), [Grade::Fail(Exit::Database)]);
        assert_eq!(grades(SHIPPED, store, metrics, ""), [Grade::Warn]);
        let edited = SHIPPED.replace("ReadWritePaths=", "ReadWritePaths=/srv -/var/lib/node_exporter");
        assert_eq!(grades(&edited, "/srv/bank.db", metrics, ""), [Grade::Ok]);
        assert!(grades("LoadState=not-found\n", "/srv/bank.db", "", "").is_empty());
    }

    #[test]
    fn what_the_unit_does_not_see_is_told() {
        let (store, app) = ("/var/lib/tink-sync/tink-sync.db", "/home/app/app.db");
        assert_eq!(grades(SHIPPED, store, "", app), [Grade::Fail(Exit::Database)]);
        assert_eq!(grades(SHIPPED, store, "", "/srv/app.db"), [Grade::Ok]);
        let edited = SHIPPED
            .replace("ProtectHome=yes", "ProtectHome=tmpfs")
            .replace("BindReadOnlyPaths=", "BindReadOnlyPaths=/home/app:/home/app:rbind");
        assert_eq!(grades(&edited, store, "", app), [Grade::Ok]);
    }

    #[test]
    fn a_server_needs_no_file_but_that_of_its_password() {
        let mut settings = Fixture::new().env().settings;
        settings.store.url = fixture::server();
        settings.source.database = Some(fixture::server());
        let told = |settings: &Settings| judge(SHIPPED, settings, "");
        assert!(matches!(&told(&settings)[..], [only] if only.grade == Grade::Ok));
        settings.store.pgpass_file = Some("/home/app/pgpass".into());
        let [hidden] = &told(&settings)[..] else { panic!("{:?}", told(&settings)) };
        assert_eq!(hidden.grade, Grade::Fail(Exit::Configuration));
        assert!(hidden.text.contains("/home/app/pgpass (store.pgpass_file)"), "{hidden:?}");
        let bound = SHIPPED.replace("BindReadOnlyPaths=", "BindReadOnlyPaths=/home/app");
        assert!(matches!(&judge(&bound, &settings, "")[..], [only] if only.grade == Grade::Ok));
    }

    #[test]
    fn a_resolver_on_the_link_is_told_of() {
        let deny = "169.254.0.0/16 fe80::/10 fd00:ec2::254/128";
        let told = |allow: &str, resolvers: &str| resolver_out_of_reach(deny, allow, resolvers).is_some();
        assert!(told("", "search x\nnameserver 169.254.169.254\n"));
        assert!(told("", "nameserver fe80::1%eth0\n"));
        assert!(!told("169.254.169.254/32", "nameserver 169.254.169.254\n"));
        assert!(!told("169.254.169.0/24", "nameserver 169.254.169.254\n"));
        assert!(!told("0.0.0.0/0 ::/0", "nameserver 169.254.169.254\nnameserver fe80::1\n"));
        assert!(told("169.254.169.254/32", "nameserver 169.254.169.25\n"));
        assert!(told("10.0.0.0/8 ::/0 any", "nameserver 169.254.169.254\n"));
        assert!(told("", "nameserver\t169.254.169.254\n"));
        assert!(!told("", "nameserver 169.254.169.254\nnameserver 9.9.9.9\n"));
        assert!(!told("", "nameserver 127.0.0.53\n") && !told("", ""));
        assert!(resolver_out_of_reach("", "", "nameserver 169.254.169.254\n").is_none());
    }
}
