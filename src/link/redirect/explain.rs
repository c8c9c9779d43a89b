//! Explains an error of Tink Link and its remedy in plain language, for users at the browser or the terminal.
//! Decides by codes alone, and shows no text that came from outside.

use super::LinkError;

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Class {
    /// The user left or declined.
    Cancelled,
    /// The login at the bank did not work; the user can try again.
    Login,
    /// The bank or Tink has a problem; a later attempt may work.
    Temporary,
    /// The link was used before or is too old; a new one works.
    Stale,
    /// Tink does not accept a value of the link that comes from this app or its operator.
    Setup,
    /// An unknown code.
    Unknown,
}

impl Class {
    /// Whether it is up to the user to try again.
    pub(crate) fn is_the_users(self) -> bool {
        matches!(self, Self::Cancelled | Self::Login)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Explanation {
    pub class: Class,
    pub title: &'static str,
    pub what: String,
    pub next: String,
}

const AGAIN: &str = "Start again with the same command; it makes a new link.";
const SUPPORT: &str = "If it stays so, write to Tink's support and give them the tracking id.";

/// Explains an error; `repair` is a session for an existing consent.
pub(crate) fn explain(refusal: &LinkError, repair: bool) -> Explanation {
    let kept = if repair { "The consent is as it was." } else { "Nothing was linked." };
    let reason = refusal.reason.as_deref().unwrap_or_default();
    by_reason(reason, kept).unwrap_or_else(|| by_error(refusal, kept))
}

fn new(class: Class, title: &'static str, what: impl Into<String>, next: impl Into<String>) -> Explanation {
    Explanation { class, title, what: what.into(), next: next.into() }
}

/// Reasons are more specific than the error they come with. `kept` says what has become of the consent.
fn by_reason(reason: &str, kept: &str) -> Option<Explanation> {
    let explanation = match reason {
        "USER_DECLINED_CONSENT" => new(
            Class::Cancelled,
            "The permission was not given",
            format!("You did not agree that the bank's data may be read. {kept}"),
            format!("If that was a mistake: {}", lower(AGAIN)),
        ),
        "REQUEST_FAILED_FETCH_EXISTING_USER" => new(
            Class::Stale,
            "The link was used already",
            "The code in the link works once, and it is missing, used or too old. Opening the link twice or loading the page again uses it up.",
            AGAIN,
        ),
        "INVALID_STATE_REFRESH_CREDENTIALS_RATE_LIMITED" => new(
            Class::Temporary,
            "The bank was asked too often",
            "Tink asks the bank no more for a while, since it has just been asked several times.",
            format!("Wait half an hour. {AGAIN}"),
        ),
        _ => {
            let parameter = reason.strip_prefix("INVALID_PARAMETER_").map(|name| parameter(name, kept));
            return parameter.or_else(|| reason.strip_prefix("INVALID_STATE_").map(|name| state(name, kept)));
        }
    };
    Some(explanation)
}

/// A parameter of the link that Tink does not accept.
fn parameter(name: &str, kept: &str) -> Explanation {
    let advice = match name {
        "CLIENT_ID" => "Compare tink.client_id with Tink Console.",
        "REDIRECT_URI" => {
            "Register exactly the redirect URI of the link in Tink Console (App settings), or give another one with --redirect-uri."
        }
        "MARKET" => "Give a market that the app is open for with --market, such as SE or DE.",
        "LOCALE" => "Give a language that Tink knows with --locale, such as en_US or sv_SE.",
        "AUTHORIZATION_CODE" => AGAIN,
        "CREDENTIALS_ID" => "That consent is not known any more: link the bank anew with tink-sync connect.",
        _ => "Look at the options of the command, and at the app's settings in Tink Console.",
    };
    let what = format!("Tink does not accept the part {} of the link. {kept}", name.to_lowercase());
    new(Class::Setup, "The link is not accepted", what, advice)
}

/// A state in which Tink cannot do what the link asks for.
fn state(name: &str, kept: &str) -> Explanation {
    let what = format!("Tink cannot do this now: {}. {kept}", name.to_lowercase().replace('_', " "));
    new(Class::Temporary, "Not possible now", what, format!("Wait some minutes. {AGAIN} {SUPPORT}"))
}

fn by_error(refusal: &LinkError, kept: &str) -> Explanation {
    match refusal.error.as_deref().unwrap_or_default() {
        "USER_CANCELLED" => new(
            Class::Cancelled,
            "Cancelled",
            format!("You left before the bank was linked. {kept}"),
            format!("If that was a mistake: {}", lower(AGAIN)),
        ),
        "AUTHENTICATION_ERROR" => {
            let (what, next) = login(refusal.kind.as_deref().unwrap_or_default());
            new(Class::Login, "The login did not work", format!("{what} {kept}"), next)
        }
        "TEMPORARY_ERROR" => new(
            Class::Temporary,
            "The bank cannot be reached",
            format!("The bank, or the way to it, has trouble at the moment. {kept}"),
            format!("Try it later, in an hour for example. {AGAIN}"),
        ),
        "INTERNAL_ERROR" => new(
            Class::Temporary,
            "Tink has trouble",
            format!("Something went wrong at Tink. {kept}"),
            format!("Try it in some minutes. {AGAIN} {SUPPORT}"),
        ),
        "BAD_REQUEST" => new(
            Class::Setup,
            "The link is not accepted",
            format!("Tink does not accept the link. {kept}"),
            format!("Compare tink.client_id and the redirect URI with Tink Console. {AGAIN} {SUPPORT}"),
        ),
        _ => new(
            Class::Unknown,
            "It did not work",
            format!("Tink reports an error that is not known here. {kept}"),
            format!("{AGAIN} {SUPPORT}"),
        ),
    }
}

/// Why a login failed, by `error_type`; wording after API.md 5.1.
fn login(kind: &str) -> (&'static str, String) {
    let (what, next) = match kind {
        "STATIC_CREDENTIALS_INCORRECT" => ("The bank does not accept the user name or the password.", ""),
        "DYNAMIC_CREDENTIALS_INCORRECT" => ("The bank does not accept the one-time code.", ""),
        "DYNAMIC_CREDENTIALS_FLOW_CANCELLED" => ("The login was stopped in the bank's app.", ""),
        "DYNAMIC_CREDENTIALS_FLOW_TIMEOUT" => ("The login in the bank's app was not confirmed in time.", ""),
        "THIRD_PARTY_AUTHENTICATION_UNAVAILABLE" => {
            ("The login app could not be reached.", "Is it installed and up to date? ")
        }
        "USER_NOT_A_CUSTOMER" => {
            ("The bank does not know this user as a customer.", "Was it the right bank? ")
        }
        "USER_BLOCKED" => ("The bank has blocked this login.", "Ask the bank, then try again. "),
        "USER_CONCURRENT_LOGINS" => {
            ("The bank sees another login of the same user.", "Log out there first. ")
        }
        "ACTION_NOT_PERMITTED" => ("The bank does not let this user read the data.", "Ask the bank. "),
        "USER_ACTION_REQUIRED" => {
            ("The bank wants something confirmed first.", "Log in at the bank itself and do what it asks. ")
        }
        "SESSION_EXPIRED" => ("The login took too long.", ""),
        "NO_ACCOUNTS" => ("The bank shows no account to this login.", "Was it the right login? "),
        _ => ("The login at the bank did not work.", ""),
    };
    (what, format!("{next}{AGAIN}"))
}

fn lower(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: &str, reason: &str, kind: &str) -> Explanation {
        explain(&refusal(error, reason, kind), false)
    }

    fn refusal(error: &str, reason: &str, kind: &str) -> LinkError {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        LinkError { error: text(error), reason: text(reason), kind: text(kind), ..LinkError::default() }
    }

    #[test]
    fn every_documented_error_has_its_own_explanation() {
        let documented = [
            ("USER_CANCELLED", "", "", Class::Cancelled),
            ("USER_CANCELLED", "USER_DECLINED_CONSENT", "", Class::Cancelled),
            ("BAD_REQUEST", "", "", Class::Setup),
            ("BAD_REQUEST", "INVALID_PARAMETER_CLIENT_ID", "", Class::Setup),
            ("BAD_REQUEST", "INVALID_PARAMETER_REDIRECT_URI", "", Class::Setup),
            ("BAD_REQUEST", "INVALID_PARAMETER_MARKET", "", Class::Setup),
            ("BAD_REQUEST", "INVALID_PARAMETER_LOCALE", "", Class::Setup),
            ("BAD_REQUEST", "INVALID_PARAMETER_AUTHORIZATION_CODE", "", Class::Setup),
            ("BAD_REQUEST", "INVALID_PARAMETER_CREDENTIALS_ID", "", Class::Setup),
            ("BAD_REQUEST", "INVALID_PARAMETER_THEME", "", Class::Setup),
            ("BAD_REQUEST", "INVALID_STATE_CREDENTIALS_DELETED", "", Class::Temporary),
            ("BAD_REQUEST", "INVALID_STATE_REFRESH_CREDENTIALS_RATE_LIMITED", "", Class::Temporary),
            ("BAD_REQUEST", "REQUEST_FAILED_FETCH_EXISTING_USER", "", Class::Stale),
            ("AUTHENTICATION_ERROR", "", "", Class::Login),
            ("AUTHENTICATION_ERROR", "", "STATIC_CREDENTIALS_INCORRECT", Class::Login),
            ("AUTHENTICATION_ERROR", "", "DYNAMIC_CREDENTIALS_INCORRECT", Class::Login),
            ("AUTHENTICATION_ERROR", "", "DYNAMIC_CREDENTIALS_FLOW_CANCELLED", Class::Login),
            ("AUTHENTICATION_ERROR", "", "DYNAMIC_CREDENTIALS_FLOW_TIMEOUT", Class::Login),
            ("AUTHENTICATION_ERROR", "", "THIRD_PARTY_AUTHENTICATION_UNAVAILABLE", Class::Login),
            ("AUTHENTICATION_ERROR", "", "USER_NOT_A_CUSTOMER", Class::Login),
            ("AUTHENTICATION_ERROR", "", "USER_BLOCKED", Class::Login),
            ("AUTHENTICATION_ERROR", "", "USER_CONCURRENT_LOGINS", Class::Login),
            ("AUTHENTICATION_ERROR", "", "ACTION_NOT_PERMITTED", Class::Login),
            ("AUTHENTICATION_ERROR", "", "USER_ACTION_REQUIRED", Class::Login),
            ("AUTHENTICATION_ERROR", "", "SESSION_EXPIRED", Class::Login),
            ("AUTHENTICATION_ERROR", "", "NO_ACCOUNTS", Class::Login),
            ("TEMPORARY_ERROR", "", "", Class::Temporary),
            ("INTERNAL_ERROR", "", "", Class::Temporary),
            ("SOMETHING_NEW", "", "", Class::Unknown),
        ];
        let mut seen = std::collections::HashSet::new();
        for (error, reason, kind, class) in documented {
            let explained = of(error, reason, kind);
            assert_eq!(explained.class, class, "{error} {reason} {kind}");
            assert!(explained.what.ends_with('.') && explained.next.ends_with('.'), "{explained:?}");
            assert!(
                seen.insert(explained.what + &explained.next),
                "{error} {reason} {kind} is not told apart"
            );
        }
    }

    #[test]
    fn what_is_not_known_is_explained_by_what_is() {
        assert_eq!(of("USER_CANCELLED", "NEW_REASON", "NEW_TYPE"), of("USER_CANCELLED", "", ""));
        assert_eq!(of("", "", ""), of("SOMETHING_NEW", "", ""));
        assert_eq!(of("AUTHENTICATION_ERROR", "", "NEW_TYPE"), of("AUTHENTICATION_ERROR", "", ""));
        assert!(of("", "INVALID_PARAMETER_APP_URI", "").what.contains("part app_uri of"));
    }

    #[test]
    fn a_repair_that_fails_says_that_the_consent_is_as_it_was() {
        for (error, reason) in [
            ("USER_CANCELLED", ""),
            ("USER_CANCELLED", "USER_DECLINED_CONSENT"),
            ("BAD_REQUEST", "INVALID_PARAMETER_REDIRECT_URI"),
            ("BAD_REQUEST", "INVALID_STATE_CREDENTIALS_DELETED"),
        ] {
            let refusal = refusal(error, reason, "");
            assert!(explain(&refusal, true).what.ends_with("The consent is as it was."), "{error} {reason}");
            assert!(explain(&refusal, false).what.ends_with("Nothing was linked."), "{error} {reason}");
        }
    }
}
