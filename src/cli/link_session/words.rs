//! The texts in the terminal about a Link session. Pure.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use super::RedirectOptions;
use crate::link::page::Notice;
use crate::link::redirect::{Explanation, LinkError};
use crate::link::state::StateError;
use crate::link::url::Purpose;

pub(super) const STOPPED: &str =
    "\nStopped. Nothing is lost: the same command goes on from here, with a new link.\n";
pub(super) const NO_BROWSER: &str = "--open: no browser is started with the rights of root or of the service, which could then read what they can; leave --open out and open the link that is printed in your own browser";
pub(super) const ASKING: &str = "Back from Tink Link. Asking Tink what it led to …\n";
pub(super) const NOTHING_PASTED: &str =
    "the input ended before the address was pasted; nothing was linked. The same command makes a new link";
pub(super) const NO_ANSWER_IN_IT: &str =
    "That holds no answer: paste the whole address, with what follows the question mark.\n";

/// Where to go and what will happen.
pub(super) fn invitation(
    address: &str,
    way: &RedirectOptions,
    purpose: &Purpose,
    user_id: &str,
    listens: bool,
) -> String {
    let time = humantime::format_duration(way.timeout);
    let what = match purpose {
        Purpose::Connect { .. } => "choose the bank and log in there",
        Purpose::Extend(_) => "and confirm that the bank's data may be read for longer",
        Purpose::Update(_) => "and log in at the bank anew",
    };
    let mut text = format!(
        "Open this link in a browser within {time}, {what}:\n\n  {address}\n\n\
         It works once, and acts for user {user_id}: keep it to yourself.\n"
    );
    let uri = &way.redirect_uri;
    // Writing to a String cannot fail.
    let _ = if listens {
        writeln!(text, "Waiting for the browser to come back to {uri} (Ctrl-C gives up) …")
    } else {
        writeln!(
            text,
            "At the end the browser lands on {uri}…; it does not matter what it shows there.\n\
             Copy the whole address of that page, paste it here and press Enter:"
        )
    };
    text.push_str(&hints(way, listens));
    text
}

/// Help with the most frequent problems.
fn hints(way: &RedirectOptions, listens: bool) -> String {
    let uri = &way.redirect_uri;
    let mut text = format!(
        "\nIf Tink says that the redirect URI is not valid: add exactly {uri}\nto the redirect URIs of the app in Tink Console, then try again.\n"
    );
    if let (true, None, Some(socket)) = (listens, way.listen, uri.sockets().first()) {
        let port = socket.port();
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "If the browser is on another machine: use --paste, or first there: ssh -L {port}:localhost:{port} THIS_MACHINE"
        );
    }
    text.push('\n');
    text
}

pub(super) fn late(time: Duration) -> String {
    format!(
        "Nobody came back within {}. Nothing is lost: the same command goes on from here, with a new link.\n",
        humantime::format_duration(time)
    )
}

/// Tink Link reported an error.
pub(super) fn refused(refusal: &LinkError, explanation: &Explanation) -> String {
    let mut text = format!("{}. {}\n{}\n", explanation.title, explanation.what, explanation.next);
    let facts = [
        ("error", &refusal.error),
        ("reason", &refusal.reason),
        ("type", &refusal.kind),
        ("bank", &refusal.provider),
        ("tracking id", &refusal.tracking_id),
    ];
    for (name, value) in facts.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {name}: {value}");
    }
    text
}

/// The pasted text is not the answer to this link.
pub(super) fn pasted_in_vain(notice: &Notice, error: StateError) -> String {
    if error == StateError::NotSent {
        return "That is the link itself: open it in a browser, and paste the address where the browser lands:\n"
            .to_owned();
    }
    let what = notice.paragraphs.first().map(String::as_str).unwrap_or_default();
    format!("{}. {what}\nPaste the address that the link above led to:\n", notice.title)
}

/// Why a redirect was rejected.
pub(super) fn turned_away(error: StateError) -> &'static str {
    match error {
        StateError::Missing => "it has no state",
        StateError::Wrong => "its state is not of the link above",
        StateError::Expired => "its link is too old",
        StateError::Used => "it was here before",
        StateError::NotSent => "it is the link itself",
    }
}

/// The listener cannot be opened.
pub(super) fn cannot_listen(error: &io::Error) -> String {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program has this port (perhaps another tink-sync connect): end it, or add a redirect URI with another port in Tink Console and give it with --redirect-uri"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are root's: add a redirect URI with a higher port in Tink Console and give it with --redirect-uri"
        }
        _ => "give another address with --redirect-uri or --listen, or use --paste",
    };
    format!("cannot wait for the browser at {error}: {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::url::RedirectUri;

    fn way(uri: &str) -> RedirectOptions {
        RedirectOptions {
            redirect_uri: RedirectUri::parse(uri).unwrap(),
            listen: None,
            paste: false,
            open: false,
            timeout: Duration::from_mins(15),
            no_sync: false,
        }
    }

    fn connect() -> Purpose {
        Purpose::Connect { market: "SE".to_owned(), locale: "en_US".to_owned(), test: true }
    }

    #[test]
    fn the_link_stands_on_a_line_of_its_own_with_all_it_takes() {
        let text =
            invitation("https://l/?a=b", &way("http://localhost:8765/callback"), &connect(), "me", true);
        assert!(text.contains("\n\n  https://l/?a=b\n\n"), "{text}");
        for part in [
            "within 15m",
            "user me",
            "back to http://localhost:8765/callback",
            "ssh -L 8765:localhost:8765",
            "Tink Console",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn without_a_listener_it_says_what_to_paste() {
        let text = invitation("x", &way("https://app.example/tink"), &connect(), "me", false);
        assert!(text.contains("paste it here") && !text.contains("ssh"), "{text}");
    }

    #[test]
    fn a_taken_port_comes_with_its_remedy() {
        let error = io::Error::new(io::ErrorKind::AddrInUse, "127.0.0.1:8765: in use");
        assert!(
            cannot_listen(&error).contains("127.0.0.1:8765")
                && cannot_listen(&error).contains("--redirect-uri")
        );
    }
}
