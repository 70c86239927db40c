//! Attempts to sign in: so many that fail, for each user and for each address, in a quarter of an hour.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use callvault_app::{
    core::{AccountSid, TimeUs, time::SECOND_US},
    seal::{SealError, digest::sha256, random_bytes},
};

const WINDOW_S: i64 = 900;
/// Failures for one user, unless the configuration says otherwise.
pub const PER_USER: u32 = 10;
/// How many times more there may be from one address, where many users may sit.
const ADDRESS_FACTOR: u32 = 10;
/// Users and addresses that are remembered at once; with more, attempts wait for the next window.
const MAX_KEYS: usize = 200_000;

/// Attempts of this window. Each process counts its own.
pub struct Attempts {
    per_user: u32,
    salt: [u8; 32],
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    number: i64,
    counts: HashMap<[u8; 32], u32>,
}

/// An attempt that counts as a failure until it is said to be none.
pub struct Attempt<'a> {
    attempts: &'a Attempts,
    number: i64,
    keys: [[u8; 32]; 2],
}

impl Attempts {
    /// So many failures for each user.
    ///
    /// # Errors
    /// [`SealError::Random`] when the system gives no random bytes.
    pub fn new(per_user: u32) -> Result<Self, SealError> {
        Ok(Self {
            per_user,
            salt: random_bytes()?,
            window: Mutex::default(),
        })
    }

    /// Counts an attempt before it is made, so that many at once are no way around. Users that do not exist are counted like
    /// those that do.
    ///
    /// # Errors
    /// The seconds to wait, when there were too many.
    pub fn begin(
        &self,
        account: Option<&AccountSid>,
        user: &str,
        from: IpAddr,
        now: TimeUs,
    ) -> Result<Attempt<'_>, i64> {
        let realm = account.map_or("", AccountSid::as_str);
        let person = user.trim().to_lowercase();
        let keys = [
            sha256(&[&self.salt, b"user", realm.as_bytes(), b"/", person.as_bytes()]),
            sha256(&[&self.salt, b"from", network(from).as_bytes()]),
        ];
        let limits = [self.per_user, self.per_user.saturating_mul(ADDRESS_FACTOR)];
        let number = self.take(&keys, &limits, now)?;
        Ok(Attempt {
            attempts: self,
            number,
            keys,
        })
    }

    /// Counts a question that was asked from an address; each is a row until it is over.
    ///
    /// # Errors
    /// The seconds to wait, when there were too many.
    pub fn ask(&self, from: IpAddr, now: TimeUs) -> Result<(), i64> {
        let key = sha256(&[&self.salt, b"asked", network(from).as_bytes()]);
        let limit = self.per_user.saturating_mul(ADDRESS_FACTOR).saturating_mul(2);
        self.take(&[key], &[limit], now).map(drop)
    }

    fn take(&self, keys: &[[u8; 32]], limits: &[u32], now: TimeUs) -> Result<i64, i64> {
        let now_s = now.0.div_euclid(SECOND_US);
        let number = now_s.div_euclid(WINDOW_S);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.number != number {
            window.number = number;
            window.counts.clear();
        }
        let used = |key: &[u8; 32]| window.counts.get(key).copied().unwrap_or(0);
        let is_full = window.counts.len() >= MAX_KEYS && keys.iter().any(|key| used(key) == 0);
        if is_full || keys.iter().zip(limits).any(|(key, limit)| used(key) >= *limit) {
            return Err((number + 1) * WINDOW_S - now_s);
        }
        for key in keys {
            *window.counts.entry(*key).or_default() += 1;
        }
        Ok(number)
    }
}

impl Attempt<'_> {
    /// The attempt was the user's: it and the user's failures before it are forgotten.
    pub fn succeeded(self) {
        let mut window = self.attempts.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.number != self.number {
            return;
        }
        let [user, from] = self.keys;
        window.counts.remove(&user);
        if let Some(count) = window.counts.get_mut(&from) {
            *count = count.saturating_sub(1);
        }
    }
}

/// Who has one address of IPv6 has the network of 64 bits around it.
fn network(from: IpAddr) -> String {
    match from {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.to_string(),
            None => v6.segments().iter().take(4).map(|part| format!("{part:x}:")).collect(),
        },
        IpAddr::V4(v4) => v4.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_and_an_address_have_their_limits() {
        let attempts = Attempts::new(3).expect("attempts");
        let acme: AccountSid = "acme".parse().expect("ok");
        let from = |text: &str| text.parse::<IpAddr>().expect("an address");
        let now = TimeUs(9_000 * SECOND_US);
        for n in 0..3 {
            assert!(
                attempts
                    .begin(Some(&acme), "Asha@example.in", from("192.0.2.1"), now)
                    .is_ok(),
                "{n}"
            );
        }
        let again = |user: &str, at: &str, now| attempts.begin(Some(&acme), user, from(at), now);
        assert!(again("asha@example.in ", "192.0.2.2", now).is_err(), "from anywhere");
        assert!(again("asha@example.in", "192.0.2.2", TimeUs(now.0 + 900 * SECOND_US)).is_ok());
        let one = again("ravi@example.in", "192.0.2.3", now).expect("another user");
        one.succeeded();
        for n in 0..30 {
            let user = format!("user{n}@example.in");
            assert!(again(&user, &format!("2001:db8::{n}"), now).is_ok(), "{n}");
        }
        assert!(
            again("late@example.in", "2001:db8::ffff", now).is_err(),
            "the same network"
        );
        assert!(again("late@example.in", "2001:db8:1::1", now).is_ok());
    }

    #[test]
    fn success_forgets_failures() {
        let attempts = Attempts::new(2).expect("attempts");
        let from = "192.0.2.1".parse().expect("an address");
        let now = TimeUs(0);
        for _ in 0..10 {
            assert!(attempts.begin(None, "a@example.in", from, now).is_ok());
            attempts
                .begin(None, "a@example.in", from, now)
                .expect("the second")
                .succeeded();
        }
    }
}
