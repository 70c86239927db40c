//! The session's cookie, and what keeps other sites from using it.
//!
//! The prefix `__Host-` makes browsers insist on `Secure`, on the whole site and on this host alone (RFC 6265bis, 4.1.3.2).

use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, request::Parts};
use callvault_app::session::Lifetime;
use url::Url;
use zeroize::Zeroizing;

use crate::problem::{Answer, Problem};

/// The cookie's name.
pub const NAME: &str = "__Host-callvault";
/// The header that a program sends with a change, when it is no browser; its value does not matter. Other sites cannot send it,
/// because no answer of this one lets them.
pub const HEADER: &str = "x-callvault-request";

/// The cookie's secret, if a well-formed one was sent.
#[must_use]
pub fn find(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let sent = headers.get_all(header::COOKIE).iter();
    let pairs = sent
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'));
    let secret = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == NAME).then_some(value))?;
    let is_secret = secret.len() == 64 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_secret.then(|| Zeroizing::new(secret.to_owned()))
}

/// `Set-Cookie` for a new session.
#[must_use]
pub fn set(secret: &str, lifetime: Lifetime) -> Option<HeaderValue> {
    let text = Zeroizing::new(format!(
        "{NAME}={secret}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={}",
        lifetime.whole_s
    ));
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `Set-Cookie` that removes it.
#[must_use]
pub fn unset() -> HeaderValue {
    HeaderValue::from_static("__Host-callvault=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// Refuses a change that another site may have made a browser send.
///
/// # Errors
/// 403.
pub fn require_same_site(parts: &Parts, own_url: &str) -> Answer<()> {
    if matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let text = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text("sec-fetch-site");
    let origin = text("origin");
    let is_ours = |origin: &str| is_own_origin(origin, own_url, host_of(parts));
    let foreign = site.is_some_and(|site| site != "same-origin") || origin.is_some_and(|origin| !is_ours(origin));
    let known = site.is_some() || origin.is_some() || parts.headers.contains_key(HEADER);
    if known && !foreign {
        return Ok(());
    }
    let detail = "A change with a cookie comes from this site's own pages, or with the header X-Callvault-Request.";
    Err(Problem::new(StatusCode::FORBIDDEN, "foreign-site", detail))
}

/// Whom the request was sent to: HTTP/2 says it in the address, HTTP/1.1 in a header.
fn host_of(parts: &Parts) -> Option<&str> {
    let named = Uri::authority(&parts.uri).map(axum::http::uri::Authority::as_str);
    named.or_else(|| parts.headers.get(header::HOST)?.to_str().ok())
}

fn is_own_origin(origin: &str, own_url: &str, host: Option<&str>) -> bool {
    let Ok(origin) = Url::parse(origin) else { return false };
    let of = |text: &str| Url::parse(text).map(|url| url.origin());
    let here = host.and_then(|host| of(&format!("https://{host}")).ok());
    origin.scheme() == "https" && (Ok(origin.origin()) == of(own_url) || Some(origin.origin()) == here)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(method: Method, headers: &[(&str, &str)]) -> Parts {
        let mut request = axum::http::Request::builder().method(method).uri("/v1/session");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn a_change_comes_from_the_own_site_or_says_so() {
        let host = ("host", "vault.example.in");
        let own = ("origin", "https://vault.example.in");
        let evil = ("origin", "https://evil.example");
        for (allowed, headers) in [
            (true, vec![host, own]),
            (true, vec![host, ("origin", "https://door.example.in")]),
            (true, vec![host, ("sec-fetch-site", "same-origin")]),
            (true, vec![host, (HEADER, "1")]),
            (false, vec![host]),
            (false, vec![host, evil]),
            (false, vec![host, evil, (HEADER, "1")]),
            (false, vec![host, ("origin", "null"), ("sec-fetch-site", "same-origin")]),
            (false, vec![host, ("origin", "http://vault.example.in")]),
            (false, vec![host, ("sec-fetch-site", "same-site")]),
            (false, vec![host, ("sec-fetch-site", "cross-site"), own]),
        ] {
            let answer = require_same_site(&parts(Method::POST, &headers), "https://door.example.in");
            assert_eq!(answer.is_ok(), allowed, "{headers:?}");
        }
        assert!(require_same_site(&parts(Method::GET, &[host]), "https://door.example.in").is_ok());
    }

    #[test]
    fn only_a_secret_under_the_own_name_counts() {
        let secret = "a".repeat(64);
        let of = |text: &str| find(&parts(Method::GET, &[("cookie", text)]).headers);
        assert_eq!(of(&format!("x=1; {NAME}={secret}")).as_deref(), Some(&secret));
        for text in [format!("callvault={secret}"), format!("{NAME}=short"), String::new()] {
            assert!(of(&text).is_none(), "{text}");
        }
        let set = set(&secret, Lifetime::default()).expect("a cookie");
        assert!(set.is_sensitive());
    }
}
