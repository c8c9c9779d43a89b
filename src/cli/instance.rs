//! Names of unit instances. People type `tink-sync@c-17`, programs escape the name first, and systemd itself
//! takes every dash of an instance for a slash. Decides which connection is meant, and reads nothing.

/// The connections that an instance of this name can mean: the name itself and the unescaped one, each once.
pub(super) fn meanings(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned()];
    all.extend(unescaped(name).filter(|other| other != name));
    all
}

/// The only connection that exists.
///
/// # Errors
/// The message for the operator if no connection or more than one exists.
pub(super) fn only(name: &str, mut known: Vec<String>) -> Result<String, String> {
    match (known.pop(), known.pop()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(format!("unknown connection: {name}; `tink-sync connections list` shows all")),
        (Some(second), Some(first)) => Err(format!(
            "{name} can mean connection {first} and connection {second}; use tink-sync run --connection instead"
        )),
    }
}

/// The text that `systemd-escape` turned into this name; `None` if no text escapes to it.
fn unescaped(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        rest = rest.get(first.len_utf8()..)?;
        match first {
            '-' => bytes.push(b'/'),
            '\\' => {
                let digits = rest.strip_prefix('x')?;
                bytes.push(u8::from_str_radix(digits.get(..2)?, 16).ok()?);
                rest = digits.get(2..)?;
            }
            other => bytes.extend(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unescaped_as_systemd_does() {
        for (escaped, plain) in [
            ("c17", Some("c17")),
            ("c\\x2d17", Some("c-17")),
            ("a-b", Some("a/b")),
            ("\\x2dx-\\xc3\\xbc\\x201", Some("-x/ü 1")),
            ("ü", Some("ü")),
            ("a\\b", None),
            ("a\\x2", None),
            ("a\\xgg", None),
            ("\\xff", None),
            ("\\x€", None),
        ] {
            assert_eq!(unescaped(escaped).as_deref(), plain, "{escaped}");
        }
    }

    #[test]
    fn a_name_means_what_exists() {
        assert_eq!(meanings("c-17"), ["c-17", "c/17"]);
        assert_eq!(meanings("c17"), ["c17"]);
        assert_eq!(only("c-17", vec!["c-17".to_owned()]), Ok("c-17".to_owned()));
        assert!(only("c-17", Vec::new()).unwrap_err().contains("unknown connection: c-17"));
        let both = only("c-17", vec!["c-17".to_owned(), "c/17".to_owned()]).unwrap_err();
        assert!(both.contains("connection c-17 and connection c/17"), "{both}");
    }
}
