//! What a call flow asks of addresses while a call goes on (the platform's dynamic URLs).

use std::time::Duration;

use callvault_core::{
    Sid, TimeUs,
    flow::Address,
    record::{CallStatus, Direction},
    time::SECOND_US,
};

use super::{Line, LiveCall, PostError, Question, Reply};

/// How long an address may take (the platform's documentation, "Gather").
const ANSWER_S: u64 = 5;
/// The longest answer that is read; audio may be longer.
const MOST_BYTES: usize = 64 * 1024;
/// What the platform calls the form of its questions.
const HEADERS: [(&str, &str); 1] = [("Exotel-Version", "1.0")];

/// The end of a call that goes on, as the platform writes it.
const NO_END: &str = "1970-01-01 05:30:00";

/// Where a call is when an address is asked.
#[derive(Debug, Clone, Default)]
pub struct Moment {
    /// The flow that it goes through.
    pub flow: Option<Sid>,
    /// The keys that the caller typed last.
    pub digits: Option<String>,
    /// Who was called last, and what came of it.
    pub dialed: Option<Dialed>,
}

/// A party that was called in a flow.
#[derive(Debug, Clone)]
pub struct Dialed {
    /// Whom.
    pub number: String,
    /// How it ended.
    pub status: CallStatus,
    /// How long both talked.
    pub talk_s: u32,
}

/// What became of a question.
#[derive(Debug)]
pub struct Asked<T> {
    /// The answer, if there was one of use.
    pub answer: Option<T>,
    /// What each address that was asked said, in a few words; no address, and nothing of the answer.
    pub outcomes: Vec<String>,
}

impl Line {
    /// What an address is told of a call, in the platform's terms.
    #[must_use]
    pub fn describe(&self, live: &LiveCall, moment: &Moment) -> Vec<(&'static str, String)> {
        let (account, call, now) = (live.account(), live.call(), self.vault().now());
        let is_inbound = call.direction == Direction::Inbound;
        let text = |text: &str| text.to_owned();
        let mut query = vec![
            ("CallSid", call.sid.to_string()),
            ("CallFrom", text(call.from.as_str())),
            ("CallTo", text(call.exophone.as_str())),
            ("CallStatus", text(call.status.as_str())),
            ("Direction", text(if is_inbound { "incoming" } else { "outbound-dial" })),
            (
                "Created",
                rfc_style(TimeUs(call.at.0.saturating_add(account.utc_offset_s() * SECOND_US))),
            ),
            ("StartTime", self.local_time(account, call.at)),
            ("EndTime", text(NO_END)),
            ("CurrentTime", self.local_time(account, now)),
            ("From", text(call.from.as_str())),
            ("To", text(call.exophone.as_str())),
            ("tenant_id", account.sid.to_string()),
        ];
        query.extend(moment.flow.map(|flow| ("flow_id", flow.to_string())));
        // The platform wraps them in quotes, and its users take them off.
        query.extend(moment.digits.as_ref().map(|digits| ("digits", format!("\"{digits}\""))));
        let talked = moment
            .dialed
            .as_ref()
            .is_some_and(|dialed| dialed.status == CallStatus::Completed);
        query.push(("CallType", text(if talked { "completed" } else { "call-attempt" })));
        if let Some(dialed) = &moment.dialed {
            query.extend([
                ("DialWhomNumber", dialed.number.clone()),
                ("DialCallStatus", text(dialed.status.as_str())),
                ("DialCallDuration", dialed.talk_s.to_string()),
            ]);
        }
        if let Some(order) = live.order() {
            query.push(("OutgoingPhoneNumber", text(order.exophone.as_str())));
            query.extend(order.custom_field.clone().map(|field| ("CustomField", field)));
        }
        query
    }

    /// Asks an address, and its fallback when the first says nothing of use.
    pub async fn ask<T>(
        &self,
        address: &Address,
        query: &[(&'static str, String)],
        read: impl Fn(&Reply) -> Option<T> + Send,
    ) -> Asked<T> {
        let mut outcomes = Vec::new();
        for url in std::iter::once(&address.url).chain(&address.fallback_url) {
            let reply = self.ask_once(url, query, MOST_BYTES).await;
            let answer = reply.as_ref().ok().and_then(&read);
            outcomes.push(match (&reply, &answer) {
                (Ok(reply), Some(_)) => format!("answered {}", reply.status),
                (Ok(reply), None) => format!("answered {}, nothing of use", reply.status),
                (Err(error), _) => error.to_string(),
            });
            if answer.is_some() {
                return Asked { answer, outcomes };
            }
        }
        Asked { answer: None, outcomes }
    }

    /// What an address answers.
    ///
    /// # Errors
    /// [`PostError`].
    pub async fn ask_once(
        &self,
        url: &str,
        query: &[(&'static str, String)],
        most_bytes: usize,
    ) -> Result<Reply, PostError> {
        let question = Question {
            url,
            query,
            headers: &HEADERS,
            most_bytes,
            patience: Duration::from_secs(ANSWER_S),
        };
        self.courier.ask(&question).await
    }
}

/// `Tue, 03 Sep 2024 11:44:54`.
fn rfc_style(at: TimeUs) -> String {
    jiff::Timestamp::from_microsecond(at.0)
        .map(|at| at.strftime("%a, %d %b %Y %H:%M:%S").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calls_beginning_is_written_as_the_platform_writes_it() {
        let at = TimeUs(1_725_363_894_000_000);
        assert_eq!(rfc_style(at), "Tue, 03 Sep 2024 11:44:54");
    }
}
