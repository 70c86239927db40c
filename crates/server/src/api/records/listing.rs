//! Listing records: the filters that calls and messages share.

use callvault_app::{
    core::{
        Class, Record, Sid,
        record::{CallStatus, Direction, MessageStatus},
    },
    read::{Page, Query},
};

use crate::{
    api::params::{Params, parse_sid},
    door::{Caller, Door},
    problem::{Answer, Problem},
};

/// What is asked of a record beside time and number.
#[derive(Default)]
struct Asked {
    direction: Option<Direction>,
    call_status: Option<CallStatus>,
    message_status: Option<MessageStatus>,
}

impl Asked {
    fn matches(&self, record: &Record) -> bool {
        let (direction, status_fits) = match record {
            Record::Call(call) => (
                call.direction,
                self.call_status.is_none_or(|status| status == call.status),
            ),
            Record::Message(message) => (
                message.direction,
                self.message_status.is_none_or(|status| status == message.status),
            ),
            Record::Activity(_) | Record::ApiAccess(_) | Record::WebhookDelivery(_) | Record::CampaignReport(_) => {
                return true;
            }
        };
        status_fits && self.direction.is_none_or(|wanted| wanted == direction)
    }
}

/// A page of one class, by the request's parameters.
///
/// # Errors
/// 422 for a wrong parameter; those of the vault.
pub async fn list_page(door: &Door, caller: &Caller, class: Class, mut params: Params) -> Answer<Page> {
    let account = door.vault.get_account(&caller.account).await?;
    let mut asked = Asked::default();
    if let Some(text) = params.take("direction") {
        let expected = "Expected inbound, outbound-dial or outbound-api.";
        asked.direction = Some(Direction::from_name(&text).ok_or_else(|| Problem::invalid("direction", expected))?);
    }
    if let Some(text) = params.take("status") {
        let unknown = || Problem::invalid("status", "Not a status of this class.");
        match class {
            Class::Message => asked.message_status = Some(MessageStatus::from_name(&text).ok_or_else(unknown)?),
            _ => asked.call_status = Some(CallStatus::from_name(&text).ok_or_else(unknown)?),
        }
    }
    let filter = |record: &Record| asked.matches(record);
    let query = Query {
        from: params.take_time("from")?,
        to: params.take_time("to")?,
        number: params.take_number("number", &account)?,
        filter: Some(&filter),
        after: params.take_cursor()?,
        newest_first: true,
        limit: params.take_limit()?,
    };
    params.finish()?;
    Ok(door
        .vault
        .list_records_of(&account, class, &query, caller.reader())
        .await?)
}

/// One record, by the SID in the path.
///
/// # Errors
/// 404 when there is none, or the caller may not see it.
pub async fn get_one(door: &Door, caller: &Caller, class: Class, sid: &str) -> Answer<Record> {
    let sid: Sid = parse_sid(sid, class.as_str())?;
    Ok(door
        .vault
        .get_record(&caller.account, class, sid, caller.reader())
        .await?)
}
