//! Deliveries: the ladder of attempts, what is told of calls and messages, and the log of it.

use callvault_core::{
    Sid, TimeUs,
    record::{Call, Entry, Message, Record},
    time::SECOND_US,
};
use callvault_store::rows::{JobRow, JobState};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{CallOrder, Letter, Line, MessageOrder, Payload, PostError, StatusCallback, lane_of};
use crate::{error::Result, recording::audio_path, vault::Account};

/// When a delivery that failed is tried again, counted from the attempt before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ladder {
    /// Status callbacks: after 5 and 15 minutes (the platform's documentation, "Webhooks").
    Callback,
    /// Webhooks: after 5 seconds, 5 and 30 minutes, 2, 5, 10, 14, 20 and 24 hours (Standard Webhooks 1.0, "Retry
    /// schedule").
    Webhook,
}

impl Ladder {
    const fn pauses_s(self) -> &'static [i64] {
        match self {
            Self::Callback => &[300, 900],
            Self::Webhook => &[5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400],
        }
    }
}

/// A delivery under way.
#[derive(Serialize, Deserialize)]
pub(super) struct Delivery {
    pub letter: Letter,
    pub ladder: Ladder,
    /// What it is about, for the log.
    pub event: String,
    /// The endpoint, when it is a webhook.
    pub endpoint: Option<String>,
    /// The webhook's message id: the same for every attempt.
    pub message: Option<String>,
}

/// What became of an attempt.
struct Attempt<'a> {
    number: usize,
    outcome: &'a str,
    answer: &'a str,
}

impl Line {
    /// Makes one attempt. The job that comes back says what is next.
    pub(super) async fn deliver(&self, account: &Account, mut delivery: Delivery, mut job: JobRow) -> Result<JobRow> {
        let posted = match self.sign(account, &mut delivery).await? {
            None => self.hand_over(&delivery.letter).await,
            Some(why) => Err(PostError::Forbidden(why.to_owned())),
        };
        let now = self.vault.now();
        let number = usize::try_from(job.attempts.max(1)).unwrap_or(usize::MAX);
        // Who is gone, removed or forbidden is not asked again.
        let is_final = matches!(
            posted,
            Err(PostError::Forbidden(_) | PostError::Refused(_) | PostError::Status(410))
        );
        let pause_s = delivery.ladder.pauses_s().get(number - 1).filter(|_| !is_final);
        let (outcome, answer) = match (&posted, pause_s) {
            (Ok(status), _) => ("delivered", status.to_string()),
            (Err(error), Some(_)) => ("failed", error.to_string()),
            (Err(error), None) => ("given_up", error.to_string()),
        };
        let attempt = Attempt {
            number,
            outcome,
            answer: &answer,
        };
        self.log_delivery(account, &delivery, &job.id, attempt).await?;
        match (posted, pause_s) {
            (Err(_), Some(pause_s)) => job.run_at = now.plus_seconds(*pause_s),
            (posted, _) => {
                if let (Err(_), Some(endpoint)) = (&posted, &delivery.endpoint) {
                    self.disable(account, endpoint, &answer).await?;
                }
                job.state = if posted.is_ok() {
                    JobState::Done
                } else {
                    JobState::Failed
                };
                job.error = posted.err().map(|error| error.to_string());
                job.body = Vec::new();
            }
        }
        Ok(job)
    }

    async fn hand_over(&self, letter: &Letter) -> std::result::Result<u16, PostError> {
        match (&letter.payload, &self.mailer) {
            (Payload::Mail(mail), Some(mailer)) => mailer.send(mail).await,
            (Payload::Mail(_), None) => Err(PostError::Refused("no mail server is configured".to_owned())),
            _ => self.courier.post(letter).await,
        }
    }

    async fn log_delivery(&self, account: &Account, delivery: &Delivery, id: &str, attempt: Attempt<'_>) -> Result<()> {
        let now = self.vault.now();
        let mut detail = json!({
            "id": id, "url": delivery.letter.url, "attempt": attempt.number, "outcome": attempt.outcome,
            "answer": attempt.answer,
        });
        if let Payload::Mail(_) = &delivery.letter.payload {
            detail["kind"] = "mail".into();
        }
        if let (Some(endpoint), Some(message)) = (&delivery.endpoint, &delivery.message) {
            detail["endpoint"] = endpoint.as_str().into();
            detail["message"] = message.as_str().into();
            // What was given up can be told again.
            if let ("given_up", Payload::Json(payload)) = (attempt.outcome, &delivery.letter.payload) {
                detail["payload"] = payload.as_str().into();
            }
        }
        let entry = Entry {
            sid: Account::fresh_sid(now)?,
            at: now,
            name: delivery.event.as_str().into(),
            subject: callvault_core::Number::default(),
            detail: Some(detail.to_string().into_boxed_str()),
        };
        self.vault
            .ingest_into(account, &[Record::WebhookDelivery(entry)])
            .await?;
        Ok(())
    }

    pub(super) async fn post_later(&self, account: &Account, id: String, event: &str, letter: Letter) -> Result<()> {
        let kind = lane_of(&account.sid, &letter.url);
        let delivery = Delivery {
            letter,
            ladder: Ladder::Callback,
            event: event.to_owned(),
            endpoint: None,
            message: None,
        };
        self.enqueue(account, kind, &id, self.vault.now(), &delivery).await
    }

    /// Tells of a call's answer or end, if somebody asked to be told.
    pub(super) async fn tell_of_call(
        &self,
        account: &Account,
        order: &CallOrder,
        call: &Call,
        recording: Option<Sid>,
        terminal: bool,
    ) -> Result<()> {
        let Some(callback) = order.callback.as_ref().filter(|callback| terminal || callback.answered) else {
            return Ok(());
        };
        let event = if terminal { "terminal" } else { "answered" };
        let time = |at: Option<TimeUs>| at.map(|at| self.local_time(account, at)).unwrap_or_default();
        let now = time(Some(self.vault.now()));
        let mut fields = vec![
            ("CallSid", call.sid.to_string()),
            ("DateUpdated", now),
            ("Status", call.status.as_str().to_owned()),
            (
                "RecordingUrl",
                recording
                    .map(|sid| self.recording_url(account, sid))
                    .unwrap_or_default(),
            ),
        ];
        if callback.long {
            let legs = json!([{ "OnCallDuration": call.talk_s, "Status": call.status.as_str() }]);
            fields.extend([
                ("EventType", event.to_owned()),
                ("DateCreated", time(Some(call.at))),
                ("To", call.to.as_str().to_owned()),
                ("From", call.from.as_str().to_owned()),
                ("PhoneNumberSid", call.exophone.as_str().to_owned()),
                ("StartTime", time(Some(call.at))),
                ("EndTime", time(call.ended_at)),
                ("ConversationDuration", call.talk_s.to_string()),
                ("Direction", call.direction.as_str().to_owned()),
                ("CustomField", order.custom_field.clone().unwrap_or_default()),
                ("Legs", legs.to_string()),
            ]);
        }
        let letter = letter_of(callback, fields);
        let id = format!("callback:{}:{event}", call.sid);
        self.post_later(account, id, &format!("call.{event}"), letter).await
    }

    /// Where a recording is heard, with the account's credentials.
    fn recording_url(&self, account: &Account, recording: Sid) -> String {
        format!("{}{}", self.base_url, audio_path(&account.sid, recording))
    }

    /// Tells of a message that a caller left (the platform's documentation, "Voicemail").
    pub(super) async fn tell_of_message_left(
        &self,
        account: &Account,
        url: &str,
        call: &Call,
        recording: Sid,
    ) -> Result<()> {
        let view = self
            .vault
            .get_recording(&account.sid, recording, callvault_core::hold::Reader::Account)
            .await;
        let duration_s = match view {
            Ok(view) => view.meta.duration_ms.div_ceil(1_000),
            // Withdrawn or lapsed meanwhile: there is nothing to tell of.
            Err(crate::error::VaultError::NotFound { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let fields = [
            ("CallSid", call.sid.to_string()),
            ("From", call.from.as_str().to_owned()),
            ("RecordingUrl", self.recording_url(account, recording)),
            ("Duration", duration_s.to_string()),
        ];
        let letter = Letter {
            url: url.to_owned(),
            payload: Payload::Form(fields.map(|(name, value)| (name.to_owned(), value)).to_vec()),
            headers: Vec::new(),
        };
        let id = format!("callback:{}:voicemail", call.sid);
        self.post_later(account, id, "call.voicemail", letter).await
    }

    /// Tells of a message's end, if somebody asked to be told.
    pub(super) async fn tell_of_message(
        &self,
        account: &Account,
        order: &MessageOrder,
        message: &Message,
    ) -> Result<()> {
        let Some(callback) = &order.callback else { return Ok(()) };
        let time = |at: TimeUs| self.local_time(account, at);
        let fields = vec![
            ("SmsSid", message.sid.to_string()),
            ("To", message.to.as_str().to_owned()),
            ("From", message.from.as_str().to_owned()),
            ("Status", message.status.as_str().to_owned()),
            ("ExoStatusCode", message.status_code.unwrap_or_default().to_string()),
            ("DateUpdated", time(self.vault.now())),
            ("DateSent", message.sent_at.map(time).unwrap_or_default()),
            ("CustomField", order.custom_field.clone().unwrap_or_default()),
        ];
        let id = format!("callback:{}:terminal", message.sid);
        self.post_later(account, id, "message.terminal", letter_of(callback, fields))
            .await
    }

    /// A moment as the platform writes it: the account's local time, without a zone.
    #[must_use]
    pub fn local_time(&self, account: &Account, at: TimeUs) -> String {
        let shifted = TimeUs(at.0.saturating_add(account.utc_offset_s() * SECOND_US)).to_string();
        let text: String = shifted.chars().take(19).collect();
        text.replace('T', " ")
    }
}

fn letter_of(callback: &StatusCallback, fields: Vec<(&'static str, String)>) -> Letter {
    let payload = if callback.json {
        let object: serde_json::Map<String, serde_json::Value> = fields
            .into_iter()
            .map(|(name, value)| {
                let value = match name {
                    "Legs" => serde_json::from_str(&value).unwrap_or_default(),
                    _ => value.into(),
                };
                (name.to_owned(), value)
            })
            .collect();
        Payload::Json(serde_json::Value::Object(object).to_string())
    } else {
        Payload::Form(
            fields
                .into_iter()
                .flat_map(|(name, value)| match name {
                    "Legs" => flatten_legs(&value),
                    _ => vec![(name.to_owned(), value)],
                })
                .collect(),
        )
    };
    Letter {
        url: callback.url.clone(),
        payload,
        headers: Vec::new(),
    }
}

/// A form has no lists: `Legs[0][Status]`.
fn flatten_legs(json: &str) -> Vec<(String, String)> {
    let legs: Vec<serde_json::Map<String, serde_json::Value>> = serde_json::from_str(json).unwrap_or_default();
    let mut fields = Vec::new();
    for (number, leg) in legs.into_iter().enumerate() {
        for (name, value) in leg {
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            fields.push((format!("Legs[{number}][{name}]"), value));
        }
    }
    fields
}
