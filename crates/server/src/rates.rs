//! Requests that an account may make in a minute, the platform's own operations aside, which have their published limits.
//!
//! The headers are those of the IETF's draft "RateLimit header fields for HTTP" (version 10).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use callvault_app::core::{AccountSid, TimeUs, time::SECOND_US};

use crate::problem::Problem;

const MINUTE_S: i64 = 60;
/// Requests a minute, unless the configuration says otherwise.
pub const PER_MINUTE: u32 = 6_000;

/// Requests of this minute, by account. Each process counts its own.
pub struct Rates {
    per_minute: u32,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    minute: i64,
    counts: HashMap<AccountSid, u32>,
}

/// What is left of an account's limit.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    limit: u32,
    used: u32,
    resets_in_s: i64,
}

impl Rates {
    /// A limit for each account.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            window: Mutex::default(),
        }
    }

    /// Counts a request.
    pub fn take(&self, account: &AccountSid, now: TimeUs) -> Allowance {
        let now_s = now.0.div_euclid(SECOND_US);
        let minute = now_s.div_euclid(MINUTE_S);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.minute != minute {
            window.minute = minute;
            window.counts.clear();
        }
        let used = window.counts.entry(account.clone()).or_default();
        *used = used.saturating_add(1);
        Allowance {
            limit: self.per_minute,
            used: *used,
            resets_in_s: (minute + 1) * MINUTE_S - now_s,
        }
    }
}

impl Allowance {
    /// Whether this request is one too many.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.used > self.limit
    }

    /// Whether it is the first one too many of its minute.
    #[must_use]
    pub const fn is_first_over(&self) -> bool {
        self.used == self.limit.saturating_add(1)
    }

    /// `RateLimit-Policy` and `RateLimit`.
    pub fn write(&self, headers: &mut HeaderMap) {
        let left = self.limit.saturating_sub(self.used);
        let mut put = |name, text: String| {
            if let Ok(value) = HeaderValue::from_str(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put("ratelimit-policy", format!("\"account\";q={};w={MINUTE_S}", self.limit));
        put("ratelimit", format!("\"account\";r={left};t={}", self.resets_in_s));
    }

    /// 429 with `Retry-After`.
    #[must_use]
    pub fn refuse(&self) -> Response {
        let mut response = too_many(
            "rate-limited",
            "Too many requests of this account in this minute.",
            self.resets_in_s,
        );
        self.write(response.headers_mut());
        response
    }
}

/// 429 with `Retry-After` in seconds.
#[must_use]
pub fn too_many(code: &str, detail: &str, retry_s: i64) -> Response {
    let mut response = Problem::new(StatusCode::TOO_MANY_REQUESTS, code, detail).into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(retry_s));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_its_limit_for_each_account() {
        let rates = Rates::new(3);
        let (acme, other): (AccountSid, AccountSid) = ("acme".parse().expect("ok"), "other".parse().expect("ok"));
        let now = TimeUs(600 * SECOND_US + 5 * SECOND_US);
        assert!((0..3).all(|_| !rates.take(&acme, now).is_over()));
        let over = rates.take(&acme, now);
        assert!(over.is_over() && over.is_first_over());
        assert!(rates.take(&acme, now).is_over() && !rates.take(&acme, now).is_first_over());
        let response = over.refuse();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()["retry-after"], "55");
        assert_eq!(response.headers()["ratelimit"], "\"account\";r=0;t=55");
        assert!(!rates.take(&other, now).is_over());
        assert!(!rates.take(&acme, TimeUs(now.0 + 60 * SECOND_US)).is_over());
    }
}
