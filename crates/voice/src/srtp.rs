//! Encrypted media: SRTP (RFC 3711) with keys that the session descriptions carry (SDES, RFC 4568). The one suite is the one that
//! everybody has to have, `AES_CM_128_HMAC_SHA1_80`. Whoever reads the signalling reads the keys: it belongs into TLS.

use std::{fmt, io};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::BytesMut;
use callvault_app::seal::random_bytes;
use rtc_crypto::providers::RingCrypto;
use rtc_srtp::{context::Context, option::srtp_replay_protection, protection_profile::ProtectionProfile};
use zeroize::Zeroizing;

/// What the suite is called.
pub const SUITE: &str = "AES_CM_128_HMAC_SHA1_80";
/// A master key of 16 bytes, a master salt of 14.
const KEY_BYTES: usize = 30;
const SALT_AT: usize = 16;
/// Packets that may come late, and are told from repeated ones.
const WINDOW: usize = 128;
/// Senders on one leg, at most: each has state of its own.
const MOST_SENDERS: usize = 32;

/// A master key and its salt.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// A new one.
    ///
    /// # Errors
    /// When there is no randomness.
    pub fn new() -> io::Result<Self> {
        random_bytes()
            .map(|key| Self(Zeroizing::new(key)))
            .map_err(io::Error::other)
    }

    fn context(&self) -> Option<Context> {
        let (key, salt) = self.0.split_at(SALT_AT);
        let replay = Some(srtp_replay_protection(WINDOW));
        Context::new(
            key,
            salt,
            ProtectionProfile::Aes128CmHmacSha1_80,
            replay,
            None,
            &RingCrypto,
        )
        .ok()
    }
}

/// What a description says of a stream's encryption.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crypto {
    /// The number that an answer names it by.
    pub tag: u32,
    /// What its sender encrypts with.
    pub key: Key,
}

impl Crypto {
    /// Reads the value of `a=crypto`. Nothing for a suite, a parameter or a key form that is not supported.
    #[must_use]
    pub fn read(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let (tag, suite, key) = (words.next()?, words.next()?, words.next()?);
        // Parameters of the session change what is encrypted: none of them is.
        if suite != SUITE || words.next().is_some() {
            return None;
        }
        let mut parts = key.strip_prefix("inline:")?.split('|');
        let key = Zeroizing::new(STANDARD.decode(parts.next()?).ok()?);
        // A lifetime is one of 2^48 packets or less, which no call has. An MKI is not supported; it has a colon.
        if parts.any(|part| part.contains(':')) {
            return None;
        }
        let key: [u8; KEY_BYTES] = key.as_slice().try_into().ok()?;
        Some(Self {
            tag: tag.parse().ok()?,
            key: Key(Zeroizing::new(key)),
        })
    }

    /// Writes it.
    #[must_use]
    pub fn write(&self) -> String {
        format!("{} {SUITE} inline:{}", self.tag, STANDARD.encode(self.key.0.as_slice()))
    }
}

/// Both directions of a leg.
pub struct Secure {
    theirs: Key,
    receiving: Context,
    /// Who sent under the key.
    senders: Vec<u32>,
    /// Where it is seen whether somebody new has the key: whoever has not leaves nothing behind.
    trial: Context,
    trials: usize,
    sending: Context,
}

impl Secure {
    /// Begins with our key and theirs.
    #[must_use]
    pub fn new(ours: &Key, theirs: &Key) -> Option<Self> {
        Some(Self {
            theirs: theirs.clone(),
            receiving: theirs.context()?,
            senders: Vec::new(),
            trial: theirs.context()?,
            trials: 0,
            sending: ours.context()?,
        })
    }

    /// Takes another key of theirs. Ours stays, and with it what was sent under it is counted on.
    pub fn rekey(&mut self, theirs: &Key) {
        if self.theirs != *theirs
            && let (Some(receiving), Some(trial)) = (theirs.context(), theirs.context())
        {
            (self.receiving, self.trial) = (receiving, trial);
            self.senders.clear();
            self.theirs = theirs.clone();
        }
    }

    /// A packet as it was before. Nothing for one that nobody with the key sent, or that came before.
    pub fn open(&mut self, sender: u32, packet: &[u8]) -> Option<BytesMut> {
        if !self.senders.contains(&sender) {
            if self.trials == MOST_SENDERS {
                (self.trial, self.trials) = (self.theirs.context()?, 0);
            }
            self.trials += 1;
            self.trial.decrypt_rtp(packet).ok()?;
            if self.senders.len() == MOST_SENDERS {
                return None;
            }
            self.senders.push(sender);
        }
        self.receiving.decrypt_rtp(packet).ok()
    }

    /// A packet for the other side.
    pub fn seal(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.sending.encrypt_rtp(packet).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::Packet;

    fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        let payload = [0xd5; 160];
        let packet = Packet {
            marker: false,
            payload_type: 8,
            sequence,
            timestamp: 160 * u32::from(sequence),
            ssrc,
            payload: &payload,
        };
        packet.write(&mut bytes);
        bytes
    }

    fn pair() -> (Secure, Secure) {
        let (ours, theirs) = (Key::new().expect("a key"), Key::new().expect("a key"));
        let both = (Secure::new(&ours, &theirs), Secure::new(&theirs, &ours));
        (both.0.expect("keys"), both.1.expect("keys"))
    }

    #[test]
    fn what_one_seals_the_other_opens_once_and_nobody_else() {
        let (mut alice, mut bob) = pair();
        let (_, mut eve) = pair();
        let plain = packet(7, 65_535);
        let sealed = alice.seal(&plain).expect("sealed");
        assert_eq!(sealed.len(), plain.len() + 10);
        assert!(!sealed.windows(8).any(|window| window == [0xd5; 8]));
        assert_eq!(eve.open(7, &sealed), None);
        let mut changed = sealed.to_vec();
        changed[20] ^= 1;
        assert_eq!(bob.open(7, &changed), None);
        assert_eq!(bob.open(7, &sealed).as_deref(), Some(plain.as_slice()));
        assert_eq!(bob.open(7, &sealed), None, "it came before");
        // The counter wraps, and goes on.
        for sequence in [0, 1, 3, 2] {
            let plain = packet(7, sequence);
            let sealed = alice.seal(&plain).expect("sealed");
            assert_eq!(bob.open(7, &sealed).as_deref(), Some(plain.as_slice()), "{sequence}");
        }
        assert_eq!(bob.open(7, &plain), None, "in the clear");
    }

    #[test]
    fn strangers_take_no_room_and_a_new_key_ends_the_old() {
        let (mut alice, mut bob) = pair();
        let (mut mallory, _) = pair();
        for ssrc in 0..500 {
            let forged = mallory.seal(&packet(ssrc, 1)).expect("sealed");
            assert_eq!(bob.open(ssrc, &forged), None);
        }
        assert!(bob.senders.is_empty());
        let sealed = alice.seal(&packet(9, 1)).expect("sealed");
        assert!(bob.open(9, &sealed).is_some());
        let key = Key::new().expect("a key");
        let mut again = Secure::new(&key, &bob.theirs).expect("keys");
        bob.rekey(&key);
        assert_eq!(bob.open(9, &alice.seal(&packet(9, 2)).expect("sealed")), None);
        assert!(bob.open(9, &again.seal(&packet(9, 2)).expect("sealed")).is_some());
    }

    #[test]
    fn keys_are_written_as_they_are_read_and_never_shown() {
        let crypto = Crypto {
            tag: 3,
            key: Key::new().expect("a key"),
        };
        let written = crypto.write();
        assert_eq!(Crypto::read(&written), Some(crypto.clone()));
        assert_eq!(
            Crypto::read(&format!("{written}|2^20")),
            Some(crypto.clone()),
            "a lifetime"
        );
        let secret = written.rsplit(':').next().expect("a key");
        assert!(!format!("{crypto:?}").contains(secret));
        for refused in [
            format!("{written}|2^20|1:4"),
            format!("{written} UNENCRYPTED_SRTP"),
            written.replace("_80", "_32"),
            written.replace("inline:", "inline:AAAA"),
            written.replace("inline", "uri"),
            "1".to_owned(),
            String::new(),
        ] {
            assert_eq!(Crypto::read(&refused), None, "{refused}");
        }
    }
}
