//! Webhooks as Standard Webhooks 1.0 describes them: endpoints that an account names, events that they are told, and the
//! signature that each delivery bears.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use callvault_core::{AccountSid, Class, Record, TimeUs, hold::Reader, time::SECOND_US};
use callvault_seal::{hmac_sha256, random_bytes};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Line,
    courier::{Letter, Payload},
    delivery::{Delivery, Ladder},
    open, seal,
};
use crate::{
    error::{Result, VaultError},
    read::Query,
    vault::Account,
};

/// Endpoints an account may have.
pub const MAX_ENDPOINTS: usize = 20;
/// What endpoints may ask to be told.
pub const EVENTS: [&str; 8] = [
    "campaign.ended",
    "call.ended",
    "message.ended",
    "recordings.lapsing",
    "export.done",
    "export.failed",
    "request.opened",
    "request.ended",
];

const LAPSING: &str = "recordings.lapsing";

/// Where an account's events go.
#[derive(Clone, Serialize, Deserialize)]
pub struct Endpoint {
    /// Identifier, 16 hexadecimal digits.
    pub id: String,
    /// Address.
    pub url: String,
    /// Events it is told; all when there are none.
    pub events: Vec<String>,
    /// When it was made.
    pub created_at: TimeUs,
    /// When and why it was disabled, if it was.
    pub disabled: Option<(TimeUs, String)>,
    /// What signs, 32 bytes in base64.
    secret: String,
}

impl Endpoint {
    /// The secret as receivers are given it.
    #[must_use]
    pub fn shown_secret(&self) -> String {
        format!("whsec_{}", self.secret)
    }

    fn wants(&self, event: &str) -> bool {
        self.events.is_empty() || self.events.iter().any(|wanted| wanted == event)
    }
}

fn value_name(account: &AccountSid, id: &str) -> String {
    format!("webhook/{account}/{id}")
}

impl Line {
    /// Makes an endpoint. Its secret is in what this returns, and shown nowhere again.
    ///
    /// # Errors
    /// [`VaultError::Invalid`] for an unknown event, or when the account has [`MAX_ENDPOINTS`].
    pub async fn create_endpoint(&self, account: &Account, url: String, events: Vec<String>) -> Result<Endpoint> {
        if let Some(unknown) = events.iter().position(|event| !EVENTS.contains(&event.as_str())) {
            let reason = format!("number {} is none of {}", unknown + 1, EVENTS.join(", "));
            return Err(VaultError::invalid("events", reason));
        }
        if self.list_endpoints(account).await?.len() >= MAX_ENDPOINTS {
            let reason = format!("an account has at most {MAX_ENDPOINTS} endpoints");
            return Err(VaultError::invalid("url", reason));
        }
        let endpoint = Endpoint {
            id: hex::encode(random_bytes::<8>()?),
            url,
            events,
            created_at: self.vault.now(),
            disabled: None,
            secret: STANDARD.encode(random_bytes::<32>()?),
        };
        self.put_endpoint(account, &endpoint).await?;
        Ok(endpoint)
    }

    async fn put_endpoint(&self, account: &Account, endpoint: &Endpoint) -> Result<()> {
        let name = value_name(&account.sid, &endpoint.id);
        let sealed = seal(account, &name, endpoint)?;
        Ok(self.vault.catalog.put_value(&name, &sealed).await?)
    }

    /// An account's endpoints.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn list_endpoints(&self, account: &Account) -> Result<Vec<Endpoint>> {
        let values = self.vault.catalog.list_values(&value_name(&account.sid, "")).await?;
        values.iter().map(|(name, value)| open(account, name, value)).collect()
    }

    async fn find_endpoint(&self, account: &Account, id: &str) -> Result<Option<Endpoint>> {
        let name = value_name(&account.sid, id);
        let value = self.vault.catalog.find_value(&name).await?;
        value.map(|value| open(account, &name, &value)).transpose()
    }

    /// Removes an endpoint; what is under way to it is given up.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub async fn delete_endpoint(&self, account: &Account, id: &str) -> Result<()> {
        match self.vault.catalog.delete_value(&value_name(&account.sid, id)).await? {
            true => Ok(()),
            false => Err(VaultError::NotFound { what: "webhook" }),
        }
    }

    /// Enables an endpoint again, and tells it anew what was given up since a moment. Returns how many events.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub async fn replay(&self, account: &Account, id: &str, since: TimeUs) -> Result<u64> {
        let mut endpoint = self
            .find_endpoint(account, id)
            .await?
            .ok_or(VaultError::NotFound { what: "webhook" })?;
        endpoint.disabled = None;
        self.put_endpoint(account, &endpoint).await?;
        let given_up = |record: &Record| find_lost(record, id).is_some();
        let mut query = Query {
            from: Some(since),
            filter: Some(&given_up),
            limit: crate::read::MAX_PAGE,
            ..Query::default()
        };
        let mut replayed = 0;
        loop {
            let page = self
                .vault
                .list_records_of(account, Class::WebhookDelivery, &query, Reader::Account)
                .await?;
            for (record, lost) in page
                .records
                .iter()
                .filter_map(|record| Some((record, find_lost(record, id)?)))
            {
                // The message keeps its id, so that a receiver that has it knows it; the job is a new one.
                let job = format!("{}:{}", lost.job, record.sid());
                self.enqueue_event(account, &endpoint, &job, lost.message, &lost.event, lost.payload)
                    .await?;
                replayed += 1;
            }
            match page.next {
                Some(next) => query.after = Some(next),
                None => return Ok(replayed),
            }
        }
    }

    /// Tells every endpoint that wants it. The same event told twice is delivered once. What a disabled one is not told
    /// is in the log of deliveries as given up, for a replay.
    pub(super) async fn emit(&self, account: &Account, event: &str, id: &str, at: TimeUs, data: Value) -> Result<()> {
        let endpoints = self.list_endpoints(account).await?;
        let payload = json!({ "type": event, "timestamp": at.to_string(), "data": data }).to_string();
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.wants(event)) {
            let job = format!("webhook:{}:{id}", endpoint.id);
            self.enqueue_event(account, endpoint, &job, format!("msg_{id}"), event, payload.clone())
                .await?;
        }
        Ok(())
    }

    async fn enqueue_event(
        &self,
        account: &Account,
        endpoint: &Endpoint,
        job: &str,
        message: String,
        event: &str,
        payload: String,
    ) -> Result<()> {
        let delivery = Delivery {
            letter: Letter {
                url: endpoint.url.clone(),
                payload: Payload::Json(payload),
                headers: Vec::new(),
            },
            ladder: Ladder::Webhook,
            event: event.to_owned(),
            endpoint: Some(endpoint.id.clone()),
            message: Some(message),
        };
        let kind = super::lane_of(&account.sid, &endpoint.url);
        self.enqueue(account, kind, job, self.vault.now(), &delivery).await
    }

    /// Signs a delivery for this attempt, or says why it is not to be made any more.
    pub(super) async fn sign(&self, account: &Account, delivery: &mut Delivery) -> Result<Option<&'static str>> {
        let (Some(id), Some(message)) = (&delivery.endpoint, &delivery.message) else {
            return Ok(None);
        };
        let Some(endpoint) = self.find_endpoint(account, id).await? else {
            return Ok(Some("the endpoint was removed"));
        };
        if endpoint.disabled.is_some() {
            return Ok(Some("the endpoint is disabled"));
        }
        let timestamp = self.vault.now().0.div_euclid(SECOND_US).to_string();
        let Payload::Json(body) = &delivery.letter.payload else {
            return Ok(None);
        };
        let secret = STANDARD.decode(&endpoint.secret).map_err(|_| VaultError::Damaged {
            what: "webhook",
            reason: "its secret is not readable".to_owned(),
        })?;
        let parts: [&[u8]; 5] = [message.as_bytes(), b".", timestamp.as_bytes(), b".", body.as_bytes()];
        let signature = STANDARD.encode(hmac_sha256(&secret, &parts));
        delivery.letter.url.clone_from(&endpoint.url);
        delivery.letter.headers = vec![
            ("webhook-id".to_owned(), message.clone()),
            ("webhook-timestamp".to_owned(), timestamp),
            ("webhook-signature".to_owned(), format!("v1,{signature}")),
        ];
        Ok(None)
    }

    /// Disables an endpoint that says it is gone, or that nothing could be delivered to.
    pub(super) async fn disable(&self, account: &Account, id: &str, why: &str) -> Result<()> {
        let endpoint = self.find_endpoint(account, id).await?;
        if let Some(mut endpoint) = endpoint.filter(|endpoint| endpoint.disabled.is_none()) {
            let now = self.vault.now();
            endpoint.disabled = Some((now, why.to_owned()));
            self.put_endpoint(account, &endpoint).await?;
            let text = format!(
                "The webhook endpoint {id} of account {} was disabled at {now}: {why}.\n\n\
                 What happens meanwhile is kept for 30 days and told again by a replay of the endpoint.\n",
                account.sid
            );
            self.notify(
                account,
                "webhook.disabled",
                &format!("disabled:{id}:{now}"),
                "A webhook endpoint was disabled",
                &text,
            )
            .await?;
        }
        Ok(())
    }

    /// Warns of recordings that lapse within 30, 7 and 1 days (spec 1.5); each warning is told once.
    pub(super) async fn warn(&self) -> Result<()> {
        for sid in self.vault.list_accounts().await? {
            let account = self.vault.get_account(&sid).await?;
            let endpoints = self.list_endpoints(&account).await?;
            let by_hook = endpoints.iter().any(|endpoint| endpoint.wants(LAPSING));
            if !by_hook && !self.get_alerts(&account).await?.wants(LAPSING) {
                continue;
            }
            for warning in self.vault.warnings(&sid).await? {
                let id = format!("lapsing:{}:{}", warning.day, warning.stage_days);
                let data = json!({
                    "day": warning.day.to_string(), "within_days": warning.stage_days, "recordings": warning.records,
                    "bytes": warning.bytes, "first_at": warning.first_at.to_string(),
                });
                self.emit(&account, LAPSING, &id, self.vault.now(), data).await?;
                let text = format!(
                    "{} recordings of account {sid} ({} bytes) are deleted on {}, the first at {}.\n\n\
                     Export what is to be kept before then; what is deleted cannot be brought back.\n",
                    warning.records, warning.bytes, warning.day, warning.first_at
                );
                let subject = format!("Recordings are deleted within {} days", warning.stage_days);
                self.notify(&account, LAPSING, &id, &subject, &text).await?;
            }
        }
        Ok(())
    }
}

/// An event that was given up, from the log of deliveries.
#[derive(Deserialize)]
struct Lost {
    #[serde(rename = "id")]
    job: String,
    endpoint: String,
    message: String,
    #[serde(default)]
    event: String,
    payload: String,
}

fn find_lost(record: &Record, endpoint: &str) -> Option<Lost> {
    let Record::WebhookDelivery(entry) = record else {
        return None;
    };
    let mut lost: Lost = serde_json::from_str(entry.detail.as_deref()?).ok()?;
    lost.event = entry.name.to_string();
    Some(lost).filter(|lost| lost.endpoint == endpoint)
}
