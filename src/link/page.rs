//! The page that the browser lands on: plain, readable anywhere, and without external resources. Escapes all
//! text that is inserted. Must not know HTTP beyond the status code.

use std::fmt::Write as _;

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use super::redirect::{Class, Explanation, LinkError};
use super::state::StateError;

/// The look of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Neutral: no error, or one that needs no attention.
    Plain,
    Bad,
}

/// The contents of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// HTTP status code.
    pub status: u16,
    pub mood: Mood,
    /// The headline, also the title.
    pub title: String,
    /// What happened, what to do: one paragraph each.
    pub paragraphs: Vec<String>,
    /// Details that support may ask for.
    pub facts: Vec<(&'static str, String)>,
}

const STYLE: &str = "\
:root{color-scheme:light dark;--back:#f4f5f7;--card:#fff;--text:#1c2330;--soft:#4c5566;--line:#d6dae1;--plain:#3b4a63;--bad:#a3231c}
@media(prefers-color-scheme:dark){:root{--back:#12161d;--card:#1b212b;--text:#eceff4;--soft:#b4bcc9;--line:#364050;--plain:#a9bad6;--bad:#ff9d94}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:flex;align-items:center;justify-content:center;padding:1.25rem;background:var(--back);color:var(--text);font:1.0625rem/1.55 system-ui,sans-serif}
main{width:100%;max-width:34rem;background:var(--card);border:1px solid var(--line);border-top:.375rem solid var(--mood);border-radius:.5rem;padding:1.75rem 1.75rem 1.5rem}
.plain{--mood:var(--plain)}.bad{--mood:var(--bad)}
h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.25;color:var(--mood);overflow-wrap:break-word}
p{margin:0 0 .875rem;overflow-wrap:break-word}
dl{margin:1.25rem 0 0;padding-top:1rem;border-top:1px solid var(--line);font-size:.9375rem;color:var(--soft)}
dt{font-weight:600}
dd{margin:0 0 .5rem;font-family:ui-monospace,monospace;overflow-wrap:anywhere}
footer{margin-top:1.25rem;font-size:.9375rem;color:var(--soft)}
";

impl Notice {
    fn new(status: u16, mood: Mood, title: &str, paragraphs: &[&str]) -> Self {
        let paragraphs = paragraphs.iter().map(|text| (*text).to_owned()).collect();
        Self { status, mood, title: title.to_owned(), paragraphs, facts: Vec::new() }
    }

    /// The browser is back without an error. Only Tink knows the result of the session.
    pub(crate) fn back() -> Self {
        Self::new(
            200,
            Mood::Plain,
            "You are back from Tink",
            &[
                "An address can be typed by anybody, so tink-sync asks Tink itself how it ended.",
                "You can close this page. The terminal where you began shows how it went, and how the data arrive.",
            ],
        )
    }

    /// Tink Link reports an error.
    pub(crate) fn refused(refusal: &LinkError, explanation: &Explanation) -> Self {
        let mood = if explanation.class == Class::Cancelled { Mood::Plain } else { Mood::Bad };
        let paragraphs = [explanation.what.as_str(), explanation.next.as_str()];
        let facts = [
            ("Error", &refusal.error),
            ("Reason", &refusal.reason),
            ("Type", &refusal.kind),
            ("Tracking id, for Tink's support", &refusal.tracking_id),
        ];
        let facts = facts.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        Self { facts: facts.collect(), ..Self::new(200, mood, explanation.title, &paragraphs) }
    }

    /// The redirect's state is not accepted.
    pub(crate) fn bad_state(error: StateError) -> Self {
        match error {
            StateError::Used => Self::new(
                409,
                Mood::Plain,
                "This page was here before",
                &[
                    "What this address brings back has been taken over already. Loading it again changes nothing.",
                    "You can close this page. The terminal where you began shows how it went.",
                ],
            ),
            StateError::Expired => Self::new(
                400,
                Mood::Bad,
                "Too late",
                &[
                    "The link that led here is too old, and is not accepted any more.",
                    "Start again with the same command; it makes a new link.",
                ],
            ),
            StateError::NotSent => Self::new(
                400,
                Mood::Bad,
                "That is the link itself",
                &[
                    "Open it in a browser as it stands in the terminal: it leads to Tink, and Tink sends the browser back here.",
                    "tink-sync goes on waiting for it.",
                ],
            ),
            StateError::Missing | StateError::Wrong => Self::new(
                400,
                Mood::Bad,
                "This address is not accepted",
                &[
                    "It does not belong to the link that tink-sync waits for: it may be from an earlier attempt, cut short, or not from Tink at all.",
                    "Open the link that stands in the terminal. tink-sync goes on waiting for it.",
                ],
            ),
        }
    }

    /// Nothing is served at this address.
    pub(crate) fn not_found() -> Self {
        let text = "Only Tink sends browsers here, and to another address of this server.";
        Self::new(404, Mood::Plain, "Nothing here", &[text])
    }

    /// The request method is not supported.
    pub(crate) fn not_allowed() -> Self {
        Self::new(405, Mood::Plain, "Not like this", &["Open the link that stands in the terminal."])
    }

    /// A browser prefetches; the page is only for a real visit.
    pub(crate) fn not_ahead_of_time() -> Self {
        Self::new(503, Mood::Plain, "Not ahead of time", &["This page is shown when it is opened."])
    }

    pub(crate) fn html(&self) -> String {
        let mood = match self.mood {
            Mood::Plain => "plain",
            Mood::Bad => "bad",
        };
        let title = escaped(&self.title);
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title} – tink-sync</title>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <main class=\"{mood}\">\n<h1>{title}</h1>\n"
        );
        // Writing to a String cannot fail.
        for paragraph in &self.paragraphs {
            let _ = writeln!(html, "<p>{}</p>", escaped(paragraph));
        }
        if !self.facts.is_empty() {
            html.push_str("<dl>\n");
            for (name, value) in &self.facts {
                let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value));
            }
            html.push_str("</dl>\n");
        }
        html.push_str("<footer>This page comes from tink-sync on the machine that waits for you. It loads nothing and sends nothing.</footer>\n</main>\n</body>\n</html>\n");
        html
    }
}

/// A page that forwards a browser to an address, for the file that `--open` passes to it.
pub(crate) fn forwarding(address: &str) -> String {
    let address = escaped(address);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>To Tink – tink-sync</title>\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<meta http-equiv=\"refresh\" content=\"0;url={address}\">\n</head>\n\
         <body>\n<p><a href=\"{address}\">On to Tink</a></p>\n</body>\n</html>\n"
    )
}

/// Limits what a browser may do with these pages: only show them, with their own style and an empty icon.
pub(crate) fn content_security_policy() -> String {
    let style = BASE64.encode(&Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}

/// Escapes text for HTML, also inside an attribute. Control characters become blanks.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> Vec<Notice> {
        use StateError::{Expired, Missing, NotSent, Used, Wrong};
        let mut all =
            vec![Notice::back(), Notice::not_found(), Notice::not_allowed(), Notice::not_ahead_of_time()];
        all.extend([Expired, Missing, NotSent, Used, Wrong].map(Notice::bad_state));
        let refusal = LinkError { error: Some("USER_CANCELLED".to_owned()), ..LinkError::default() };
        all.push(Notice::refused(&refusal, &super::super::redirect::explain(&refusal, false)));
        all
    }

    #[test]
    fn every_page_is_whole_and_loads_nothing() {
        for notice in all() {
            let html = notice.html();
            assert!(html.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{html}");
            assert_eq!(html.matches("<h1>").count(), 1);
            assert_eq!(html.matches("<main").count(), 1);
            assert!(html.contains(&format!("<title>{} – tink-sync</title>", notice.title)));
            for word in ["<script", "http:", "https:", "src=", "url(", "@import", "onload"] {
                assert!(!html.contains(word), "{word} in {html}");
            }
        }
    }

    #[test]
    fn a_page_that_leads_on_holds_the_address_and_nothing_of_it_escapes() {
        let html = forwarding("https://l.example/1?a=b&c=\"><script>");
        assert_eq!(
            html.matches("https://l.example/1?a=b&amp;c=&quot;&gt;&lt;script&gt;").count(),
            2,
            "{html}"
        );
    }

    #[test]
    fn a_refusal_shows_what_support_asks_for() {
        let refusal = LinkError {
            error: Some("INTERNAL_ERROR".to_owned()),
            tracking_id: Some("t-1".to_owned()),
            ..LinkError::default()
        };
        let html = Notice::refused(&refusal, &super::super::redirect::explain(&refusal, false)).html();
        assert!(html.contains("<dd>t-1</dd>") && html.contains("<dd>INTERNAL_ERROR</dd>"), "{html}");
    }

    #[test]
    fn the_policy_allows_the_style_of_the_page_and_no_other() {
        let policy = content_security_policy();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"));
    }

    proptest! {
        #[test]
        fn whatever_is_shown_is_text(text in "[<>&\"'/a-z\\x00-\\x1f]{0,60}") {
            let notice = Notice { title: text.clone(), facts: vec![("x", text)], ..Notice::back() };
            let html = notice.html();
            let plain = Notice { title: String::new(), facts: vec![("x", String::new())], ..Notice::back() }.html();
            for mark in ['<', '>', '"'] {
                prop_assert_eq!(html.matches(mark).count(), plain.matches(mark).count());
            }
        }
    }
}
