//! Rate limits of the platform's API (its documentation, "Rate limiting"): per account and group, by the minute.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use callvault_app::core::{AccountSid, TimeUs, time::SECOND_US};

const MINUTE_US: i64 = 60 * SECOND_US;

/// Requests that share a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Group {
    Voice,
    Sms,
    BulkSms,
    Campaign,
    ExoPhone,
    Reading,
    Writing,
}

impl Group {
    fn of(method: &Method, path: &str) -> Self {
        // /v1/accounts/{account}/RESOURCE/...
        let mut parts = path.split('/').skip(4).map(str::to_ascii_lowercase);
        let (resource, below) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match resource.as_str() {
            "sms" if below.starts_with("bulksend") => Self::BulkSms,
            "sms" => Self::Sms,
            "campaigns" => Self::Campaign,
            "incomingphonenumbers" => Self::ExoPhone,
            _ if path.starts_with("/v2") && reads => Self::Reading,
            _ if path.starts_with("/v2") => Self::Writing,
            _ if reads && below.is_empty() => Self::Reading,
            _ => Self::Voice,
        }
    }

    const fn per_minute(self) -> u32 {
        match self {
            Self::Voice | Self::Sms | Self::Writing => 200,
            Self::BulkSms | Self::ExoPhone => 50,
            Self::Campaign => 30,
            Self::Reading => 300,
        }
    }
}

/// Requests of this minute, by account and group. Each process counts its own.
pub struct Limits {
    window: Mutex<Window>,
    factor: u32,
}

#[derive(Default)]
struct Window {
    minute: i64,
    counts: HashMap<(AccountSid, Group), u32>,
}

/// What is left of a limit.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    limit: u32,
    used: u32,
    now: TimeUs,
}

impl Limits {
    /// The platform's limits, times this.
    #[must_use]
    pub fn new(factor: u32) -> Self {
        Self {
            window: Mutex::default(),
            factor,
        }
    }

    /// Counts a request.
    pub fn take(&self, account: &AccountSid, method: &Method, path: &str, now: TimeUs) -> Allowance {
        let group = Group::of(method, path);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let minute = now.0.div_euclid(MINUTE_US);
        if window.minute != minute {
            window.minute = minute;
            window.counts.clear();
        }
        let used = window.counts.entry((account.clone(), group)).or_default();
        *used = used.saturating_add(1);
        Allowance {
            limit: group.per_minute().saturating_mul(self.factor),
            used: *used,
            now,
        }
    }
}

impl Allowance {
    /// Whether this request is one too many.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.used > self.limit
    }

    /// `X-RateLimit-Limit`, `-Remaining`, `-Reset` (epoch seconds), and `Retry-After` (seconds) when it is over.
    pub fn write(&self, headers: &mut HeaderMap) {
        let minute_s = MINUTE_US / SECOND_US;
        let now_s = self.now.0.div_euclid(SECOND_US);
        let reset_s = (now_s.div_euclid(minute_s) + 1) * minute_s;
        let mut put = |name: HeaderName, value: i64| headers.insert(name, HeaderValue::from(value));
        put(HeaderName::from_static("x-ratelimit-limit"), i64::from(self.limit));
        let left = self.limit.saturating_sub(self.used);
        put(HeaderName::from_static("x-ratelimit-remaining"), i64::from(left));
        put(HeaderName::from_static("x-ratelimit-reset"), reset_s);
        if self.is_over() {
            put(header::RETRY_AFTER, reset_s - now_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_its_limit_for_each_account_and_group() {
        let limits = Limits::new(1);
        let (acme, other): (AccountSid, AccountSid) = ("acme".parse().expect("ok"), "other".parse().expect("ok"));
        let now = TimeUs(MINUTE_US * 10 + 5 * SECOND_US);
        let path = "/v1/Accounts/acme/Calls/connect.json";
        for n in 0..200 {
            assert!(!limits.take(&acme, &Method::POST, path, now).is_over(), "{n}");
        }
        let over = limits.take(&acme, &Method::POST, path, now);
        let mut headers = HeaderMap::new();
        over.write(&mut headers);
        assert!(over.is_over());
        assert_eq!(
            (&headers["retry-after"], &headers["x-ratelimit-remaining"]),
            (&"55".parse().expect("ok"), &"0".parse().expect("ok"))
        );
        assert!(!limits.take(&other, &Method::POST, path, now).is_over());
        assert!(
            !limits
                .take(&acme, &Method::GET, "/v1/Accounts/acme/Calls.json", now)
                .is_over()
        );
        assert!(
            !limits
                .take(&acme, &Method::POST, path, TimeUs(now.0 + MINUTE_US))
                .is_over()
        );
    }
}
