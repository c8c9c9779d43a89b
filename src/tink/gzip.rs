//! Unpacks gzip as the servers between us and Tink really send it: several members in a row, other bytes
//! after the last one, or packed without a header that announces it. Must not read from the network.

use std::io::{ErrorKind, Read as _};

use flate2::bufread::GzDecoder;

/// The first bytes of every member. No JSON begins with them.
const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why a body cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    Short,
    /// Its content or its checksum is wrong.
    Corrupt,
}

impl Damage {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Short => "the packed answer ends early",
            Self::Corrupt => "the packed answer is damaged",
        }
    }
}

/// Whether these bytes are gzip, regardless of the headers.
pub(super) fn is_packed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Unpacks a body piece by piece, so that its reader can stop or wait for memory in between.
pub(super) struct Unpacker<'a> {
    member: GzDecoder<&'a [u8]>,
    piece: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    /// Unpacks `packed` in pieces of at most `piece` bytes.
    pub(super) fn new(packed: &'a [u8], piece: usize) -> Self {
        Self { member: GzDecoder::new(packed), piece: vec![0; piece] }
    }

    /// The next piece; empty at the end.
    pub(super) fn next(&mut self) -> Result<&[u8], Damage> {
        loop {
            let length = match self.member.read(&mut self.piece) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(Damage::Short),
                Err(_) => return Err(Damage::Corrupt),
            };
            if length > 0 {
                return Ok(self.piece.get(..length).unwrap_or_default());
            }
            let rest: &'a [u8] = self.member.get_mut();
            // Bytes that do not begin another member are padding.
            if !is_packed(rest) {
                return Ok(&[]);
            }
            self.member = GzDecoder::new(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::read::GzEncoder;
    use proptest::prelude::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        GzEncoder::new(bytes, Compression::fast()).read_to_end(&mut packed).unwrap();
        packed
    }

    fn unpack(packed: &[u8]) -> Result<Vec<u8>, Damage> {
        let mut unpacker = Unpacker::new(packed, 7);
        let mut all = Vec::new();
        loop {
            match unpacker.next()? {
                [] => return Ok(all),
                piece => all.extend_from_slice(piece),
            }
        }
    }

    #[test]
    fn members_are_joined_and_padding_is_left_out() {
        let two = [pack(b"{\"accounts\":"), pack(b""), pack(b"[]}")].concat();
        for padding in [&b""[..], b"\0\0\0\0\0\0", b"garbage", b"\x1f"] {
            assert_eq!(unpack(&[&two[..], padding].concat()).unwrap(), b"{\"accounts\":[]}");
        }
        assert!(is_packed(&two) && !is_packed(b"{}") && !is_packed(b"\x1f"));
    }

    #[test]
    fn damage_is_told() {
        let packed = pack(b"{\"accounts\":[]}");
        for end in 3..packed.len() {
            assert_eq!(unpack(&packed[..end]), Err(Damage::Short), "{end}");
        }
        let second = [&packed[..], &packed[..12]].concat();
        assert_eq!(unpack(&second), Err(Damage::Short));
        let mut wrong = packed.clone();
        let crc = wrong.len() - 8;
        wrong[crc] ^= 1;
        assert_eq!(unpack(&wrong), Err(Damage::Corrupt));
        assert_eq!(Damage::Short.as_str(), "the packed answer ends early");
    }

    proptest! {
        #[test]
        fn whatever_was_packed_comes_out(parts in proptest::collection::vec(any::<Vec<u8>>(), 1..5)) {
            let packed: Vec<u8> = parts.iter().flat_map(|part| pack(part)).collect();
            prop_assert_eq!(unpack(&packed).unwrap(), parts.concat());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = unpack(&[&MAGIC[..], &bytes].concat());
        }
    }
}
