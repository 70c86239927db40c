//! Session timers (RFC 4028): who calls says now and then that the call still goes on, and a call of which nobody says so ends.
//! The other side refreshes; one that wants us to is answered without a timer, as by who does not know of it.

use std::time::Duration;

use rsipstack::sip::{Header, Request};

use super::{has_tag, text_of};

/// The option tag.
pub(super) const TAG: &str = "timer";
/// The shortest interval that anybody may ask for.
const LEAST_S: u32 = 90;
/// How long before the end of the interval the call is ended, at most (section 10).
const EARLY_S: u32 = 32;

/// How long a call goes on without being refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Timer {
    interval_s: u32,
}

/// The interval that is asked for is too short (422).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooShort;

impl TooShort {
    pub(super) fn header() -> Header {
        Header::MinSE(LEAST_S.to_string().into())
    }
}

impl Timer {
    /// What a request asks for.
    pub(super) fn of(request: &Request) -> Result<Option<Self>, TooShort> {
        let knows = ["Supported", "Require"]
            .iter()
            .any(|name| has_tag(&request.headers, name, TAG));
        let asked = text_of(request, "Session-Expires");
        match asked.first() {
            Some(asked) if knows => Self::read(asked),
            _ => Ok(None),
        }
    }

    fn read(asked: &str) -> Result<Option<Self>, TooShort> {
        let mut parts = asked.split(';').map(str::trim);
        let interval_s = parts.next().and_then(|seconds| seconds.parse::<u32>().ok());
        let is_ours = parts.any(|part| part.eq_ignore_ascii_case("refresher=uas"));
        match interval_s {
            Some(interval_s) if interval_s < LEAST_S => Err(TooShort),
            Some(interval_s) if !is_ours => Ok(Some(Self { interval_s })),
            _ => Ok(None),
        }
    }

    /// What an answer says of it.
    pub(super) fn headers(self) -> [Header; 2] {
        let expires = format!("{};refresher=uac", self.interval_s);
        [Header::SessionExpires(expires.into()), Header::Require(TAG.into())]
    }

    /// How long until the call ends, if nothing is heard.
    pub(super) fn patience(self) -> Duration {
        let early_s = EARLY_S.min(self.interval_s / 3);
        Duration::from_secs((self.interval_s - early_s).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_refreshes_himself_gets_a_timer() {
        let timer = |interval_s| Ok(Some(Timer { interval_s }));
        assert_eq!(Timer::read("1800;refresher=uac"), timer(1_800));
        assert_eq!(Timer::read(" 90 "), timer(90));
        assert_eq!(Timer::read("89"), Err(TooShort));
        assert_eq!(Timer::read("1800; Refresher=UAS"), Ok(None));
        assert_eq!(Timer::read("soon"), Ok(None));
        let seconds = |interval_s| Timer { interval_s }.patience().as_secs();
        assert_eq!([90, 96, 1_800].map(seconds), [60, 64, 1_768]);
    }
}
