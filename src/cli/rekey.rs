//! `tink-sync rekey`: encrypts the tokens of older links with another key, all or none. Changes nothing else,
//! and stores no key.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::{Environment, Failure, table};
use crate::config::{ConfigError, secrets};
use crate::exit::Exit;
use crate::store::{Reencryption, Writer};
use crate::vault::{TokenKind, Vault, VaultError};

/// Arguments of `rekey`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  head -c 32 /dev/urandom | base64 | sudo install -m 600 /dev/stdin /root/newkey\n  sudo sh -c 'tink-sync rekey --new-key-file - < /root/newkey'\n\nStop the timer before it, and start it again when the new key is in the place of the old one."
)]
pub struct Args {
    /// File with the new key, 32 bytes in base64; - reads it from standard input
    #[arg(long, value_name = "FILE")]
    pub new_key_file: PathBuf,
}

/// Encrypts every token with the new key.
///
/// # Errors
/// [`Failure::Config`] if a key is missing or is not the one of the tokens; then nothing was changed.
pub(super) fn run(env: &Environment, args: &Args) -> Result<Exit, Failure> {
    let config = |problem: String| ConfigError::key(&env.settings.file, "store.token_key_file", problem);
    let old = env.vault()?.ok_or_else(|| config("no key is set, so no token is encrypted".to_owned()))?;
    let text = new_key(&args.new_key_file).map_err(Failure::Usage)?;
    let new = Vault::new(&text).map_err(|error| Failure::Usage(format!("--new-key-file: it {error}")))?;
    let mut tables = Writer::open(env.place(), env.clock.now())?;
    let done = tables.reencrypt(&|connection, refresh, access| {
        let again = |what, encrypted: &[u8]| reencrypted(&old, &new, connection, what, encrypted);
        let access = access.map(|encrypted| again(TokenKind::Access, encrypted)).transpose()?;
        Ok((again(TokenKind::Refresh, refresh)?, access))
    })?;
    let done = match done {
        Reencryption::Done(connections) => connections,
        Reencryption::Refused(error) => {
            let error: VaultError = error;
            return Err(config(error.to_string()).into());
        }
        Reencryption::RunAtWork(run) => {
            return Err(Failure::Usage(format!(
                "run {run} is at work, and would encrypt renewed tokens with the old key: stop the timer \
                 (systemctl stop tink-sync.timer), wait for the end of the run, and repeat this"
            )));
        }
    };
    table::print(&format!(
        "{} encrypted with the key {}. Put that key in the place of the old one ({}) before the next pass:\n\
         the credential tink-sync.token-key, or the file that store.token_key_file names.\n",
        table::count(usize::try_from(done).unwrap_or(usize::MAX), "connection"),
        new.key_id(),
        old.key_id()
    ))?;
    Ok(Exit::Success)
}

/// Also accepts a token that an earlier `rekey` encrypted with the new key.
fn reencrypted(
    old: &Vault,
    new: &Vault,
    connection: &str,
    what: TokenKind,
    encrypted: &[u8],
) -> Result<Vec<u8>, VaultError> {
    let token = match old.decrypt(connection, what, encrypted) {
        Err(error @ VaultError::OtherKey { .. }) => {
            new.decrypt(connection, what, encrypted).map_err(|_| error)?
        }
        other => other?,
    };
    new.encrypt(connection, what, &token)
}

fn new_key(file: &Path) -> Result<SecretString, String> {
    if file.as_os_str() != "-" {
        return secrets::read(file).map_err(|error| format!("--new-key-file: {} {error}", file.display()));
    }
    let mut text = String::new();
    let read = std::io::stdin().take(1024).read_to_string(&mut text);
    read.map_err(|error| format!("--new-key-file: standard input cannot be read: {error}"))?;
    Ok(SecretString::from(text))
}
