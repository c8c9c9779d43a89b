//! The checks that call Tink: reachable, client accepted, scope granted, clocks equal, one user's token. Must
//! not read any user data except the list of one user's consents.

use jiff::SignedDuration;

use super::{Finding, Grade};
use crate::cli::{Environment, Failure, client};
use crate::config::{ConfigError, Network};
use crate::domain::connection::TinkUser;
use crate::exit::Exit;
use crate::tink::{Client, ConnectObstacle, Error, ErrorKind, Examination};

/// The scope that the client token must have.
const SCOPE: &str = "authorization:grant";
/// A larger clock difference is a warning.
const SKEW_WARN: SignedDuration = SignedDuration::from_secs(60);
/// A larger one breaks tokens and dates.
const SKEW_FAIL: SignedDuration = SignedDuration::from_mins(5);

/// All checks that call Tink; `user` is a Tink user to try, with the connection that names it.
pub(super) fn findings(env: &Environment, user: Option<(String, TinkUser)>) -> Result<Vec<Finding>, Failure> {
    let client = match client::client(env) {
        Ok(client) => client,
        Err(_) if env.settings.tink.credentials().is_err() => {
            return Ok(vec![Finding::skip("Tink", "not asked, since client id or secret are missing")]);
        }
        // The network check has reported this already.
        Err(Failure::Config(ConfigError::Variable { .. })) if Network::of(&env.variable).is_err() => {
            return Ok(vec![Finding::skip("Tink", "not asked, since the environment leads nowhere")]);
        }
        Err(failure) => return Ok(vec![Finding::fail((&failure).into(), "Tink", failure.to_string())]),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(ask(&client, &env.settings.tink.api_url, user)))
}

async fn ask(client: &Client, url: &str, user: Option<(String, TinkUser)>) -> Vec<Finding> {
    let examination = match client.examine().await {
        Ok(examination) => examination,
        Err(error) => return vec![refusal(&error, url)],
    };
    let mut findings = examined(&examination, url);
    if findings.iter().any(|finding| matches!(finding.grade, Grade::Fail(Exit::Refused))) {
        return findings;
    }
    findings.push(match user {
        None => before_the_first_user(client.withheld_scopes().await),
        Some((connection, user)) => one_user(client, &connection, user).await,
    });
    findings
}

/// Tries one user. If the grant is refused because the app lacks a scope, the app lacks it without a user, too.
async fn one_user(client: &Client, connection: &str, user: TinkUser) -> Finding {
    let answer = client.session(user).consents().await.map(|consents| consents.len());
    if answer
        .as_ref()
        .is_err_and(|error| matches!(error.kind, ErrorKind::GrantRefused | ErrorKind::BadRequest))
        && let Ok(scopes) = client.withheld_scopes().await
        && !scopes.is_empty()
    {
        let text = format!("connection {connection} is refused, and the app lacks {}", scopes.join(", "));
        return Finding::fail(Exit::Refused, "one user", text)
            .remedy("have the app granted what it lacks in Tink Console, or by Tink's support");
    }
    tried(connection, answer)
}

/// The finding if Tink issues no client token.
fn refusal(error: &Error, url: &str) -> Finding {
    if error.kind == ErrorKind::ClientRefused {
        let finding = Finding::fail(Exit::Refused, "Tink", error.to_string());
        // Tink's own wording, which may change; the other remedy then leads to the Console, too.
        return if error.detail.contains("scope") {
            finding.remedy(format!("have the app granted {SCOPE} in Tink Console, or by Tink's support"))
        } else {
            finding.remedy(
                "compare tink.client_id and the secret with Tink Console; a secret may have been replaced there",
            )
        };
    }
    if error.kind == ErrorKind::Intercepted {
        // A server without a token endpoint is not Tink.
        return Finding::fail(Exit::TinkUnavailable, "Tink", format!("{url}: {error}")).remedy(format!(
            "{url} does not answer as Tink does: correct tink.api_url (https://api.tink.com), or look for a proxy or a log-in page of the network"
        ));
    }
    let remedy = match error.obstacle() {
        Some(ConnectObstacle::Name) => {
            "the name has no address: correct tink.api_url, or repair the name service (resolvectl status)"
        }
        Some(ConnectObstacle::Refused) => {
            "nobody listens there: correct tink.api_url, or look at firewall and proxy"
        }
        Some(ConnectObstacle::Certificate) => {
            "correct tink.api_url; else look for a proxy that opens TLS, and at ca-certificates and the clock"
        }
        Some(ConnectObstacle::NoTls) => {
            "what listens there speaks no TLS: correct tink.api_url and its port, or look at the proxy"
        }
        None if error.kind == ErrorKind::Malformed => {
            "something else answers for Tink: look at tink.api_url, and for a proxy or a log-in page of the network"
        }
        None => {
            "check network, DNS, proxy and tink.api_url; if they are right, Tink is away: runs wait and go on"
        }
    };
    Finding::fail(Exit::TinkUnavailable, "Tink", format!("{url}: {error}")).remedy(remedy)
}

fn examined(examination: &Examination, url: &str) -> Vec<Finding> {
    let mut findings = vec![Finding::ok("Tink", format!("{url} answers and accepts the client"))];
    findings.push(match &examination.scopes {
        Some(scopes) if !scopes.iter().any(|scope| scope == SCOPE) => {
            Finding::fail(Exit::Refused, "scopes", format!("the client token lacks {SCOPE}"))
                .remedy("have the app granted this scope in Tink Console, or by Tink's support")
        }
        Some(_) => Finding::ok("scopes", format!("{SCOPE} is granted")),
        None => Finding::ok("scopes", "Tink did not name them; check again later"),
    });
    findings.push(skew(examination.skew));
    findings
}

/// `skew` is Tink's time minus ours.
fn skew(skew: Option<SignedDuration>) -> Finding {
    let Some(skew) = skew else { return Finding::skip("clock", "Tink's answer named no time") };
    let distance = skew.abs();
    let direction = if skew.is_positive() { "behind" } else { "ahead of" };
    let text = format!("{} s {direction} Tink's", distance.as_secs());
    let remedy = "let systemd-timesyncd or chrony keep this machine's clock";
    if distance > SKEW_FAIL {
        Finding::fail(Exit::Configuration, "clock", text).remedy(remedy)
    } else if distance > SKEW_WARN {
        Finding::warn("clock", text, remedy)
    } else {
        Finding::ok("clock", "agrees with Tink's")
    }
}

/// Without a user, checks which user scopes the app itself lacks. Tink may decide differently once there is a
/// user, so this is only a warning.
fn before_the_first_user(withheld: Result<Vec<&'static str>, Error>) -> Finding {
    let what = "user scopes";
    match withheld {
        Ok(scopes) if scopes.is_empty() => {
            Finding::ok(what, "granted to the app; not tried, since no connection is enabled and entitled")
        }
        Ok(scopes) => Finding::warn(
            what,
            format!("the app seems to lack {}", scopes.join(", ")),
            "have them granted in Tink Console before the first user connects",
        ),
        Err(error) => Finding::skip(what, format!("no connection to try yet: {error}")),
    }
}

/// The result of trying one user.
fn tried(connection: &str, answer: Result<usize, Error>) -> Finding {
    let what = "one user";
    let error = match answer {
        Ok(consents) => {
            let consents = crate::cli::table::count(consents, "consent");
            return Finding::ok(
                what,
                format!("token granted with all scopes for connection {connection}, {consents}"),
            );
        }
        Err(error) => error,
    };
    let text = format!("connection {connection}: {error}");
    match error.kind {
        ErrorKind::ScopeMissing if error.is_tinks_refusal() => Finding::fail(Exit::Refused, what, text)
            .remedy("the app needs accounts:read, balances:read, transactions:read and provider-consents:read in Tink Console"),
        ErrorKind::ClientRefused => Finding::fail(Exit::Refused, what, text)
            .remedy("compare tink.client_id and the secret with Tink Console"),
        ErrorKind::UserUnknown => Finding::warn(what, text, "check this connection's external_user_id or tink_user_id in its source"),
        kind if kind.is_transient() => Finding::fail(Exit::TinkUnavailable, what, text).remedy("try again in a few minutes"),
        _ => Finding::warn(what, text, format!("may concern this user alone: tink-sync why {connection}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tink::Endpoint;

    fn grade(seconds: i64) -> Grade {
        skew(Some(SignedDuration::from_secs(seconds))).grade
    }

    #[test]
    fn clocks_may_differ_by_a_minute() {
        assert_eq!([grade(60), grade(-60)], [Grade::Ok; 2]);
        assert_eq!([grade(61), grade(-300)], [Grade::Warn; 2]);
        assert_eq!([grade(301), grade(-301)], [Grade::Fail(Exit::Configuration); 2]);
        assert!(skew(Some(SignedDuration::from_secs(90))).text.contains("90 s behind"));
        assert_eq!(skew(None).grade, Grade::Skip);
    }

    #[test]
    fn a_missing_scope_is_a_refusal() {
        let examination = |scopes: &[&str]| Examination {
            scopes: Some(scopes.iter().map(|s| (*s).to_owned()).collect()),
            skew: None,
        };
        let grade = |scopes: &[&str]| examined(&examination(scopes), "u")[1].grade;
        assert_eq!(grade(&[SCOPE, "x"]), Grade::Ok);
        assert_eq!(grade(&["x"]), Grade::Fail(Exit::Refused));
    }

    #[test]
    fn one_users_refusal_is_no_failure_of_the_set_up() {
        let error = |kind| Err(Error::new(kind, Endpoint::AuthorizationGrant, ""));
        assert_eq!(tried("c", Ok(2)).grade, Grade::Ok);
        for kind in
            [ErrorKind::UserUnknown, ErrorKind::GrantRefused, ErrorKind::Forbidden, ErrorKind::NotFound]
        {
            assert_eq!(tried("c", error(kind)).grade, Grade::Warn);
        }
        let by_tink = |kind| Error {
            status: Some(403),
            by_tink: true,
            ..Error::new(kind, Endpoint::AuthorizationGrant, "")
        };
        assert_eq!(tried("c", Err(by_tink(ErrorKind::ScopeMissing))).grade, Grade::Fail(Exit::Refused));
        assert_eq!(tried("c", error(ErrorKind::ScopeMissing)).grade, Grade::Warn);
        assert_eq!(tried("c", error(ErrorKind::Server)).grade, Grade::Fail(Exit::TinkUnavailable));
        assert_eq!(
            refusal(&Error::new(ErrorKind::ClientRefused, Endpoint::ClientToken, ""), "u").grade,
            Grade::Fail(Exit::Refused)
        );
        let other =
            Error { status: Some(404), ..Error::new(ErrorKind::Intercepted, Endpoint::ClientToken, "") };
        assert!(refusal(&other, "u").remedy.unwrap().contains("tink.api_url"));
        assert_eq!(
            refusal(&Error::new(ErrorKind::Network, Endpoint::ClientToken, ""), "u").grade,
            Grade::Fail(Exit::TinkUnavailable)
        );
    }
}
