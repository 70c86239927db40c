//! `GET /v1/Accounts/{sid}/Calls[.json]`: finished calls, filtered, sorted, page by page.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use axum::{
    extract::{RawQuery, State},
    http::StatusCode,
    response::Response,
};
use callvault_app::{
    Account,
    core::{
        Class, Number, Record, Sid, TimeUs,
        record::{Call, CallStatus, Direction},
        time::SECOND_US,
    },
    read::{Cursor, Page, Query},
};

use super::{
    call::{call_node, details_node},
    form::{Fields, MAX_LIST, read_party},
    recordings::{AudioUrls, read_validity},
    reply::{Fault, Node, Platform},
};
use crate::{
    api::params::{parse_cursor, show_cursor},
    door::Door,
};

/// Days that are looked at when no time is given, and the widest window.
const WINDOW_DAYS: i64 = 31;
/// Most numbers of one filter.
const MAX_NUMBERS: usize = 5;
/// Calls that are counted for `Total` at most.
pub(super) const MAX_TOTAL: usize = 10_000;

/// List calls as the platform does
///
/// Finished calls of a window of at most a month; the last 31 days unless `DateCreated` says otherwise. XML at `/calls`,
/// JSON at `/calls.json`. `Total` counts up to 10,000.
#[utoipa::path(
    get, path = "/v1/accounts/{account}/calls.json", tag = "platform", operation_id = "list_platform_calls",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("Sid" = Option<String>, Query, description = "SIDs with commas between, at most 100"),
        ("DateCreated" = Option<String>, Query, description = "`gte:2019-01-01 00:00:00;lte:2019-01-31 23:59:59`, local time"),
        ("From" = Option<String>, Query, description = "Numbers with commas between, at most 5"),
        ("To" = Option<String>, Query, description = "As `From`"),
        ("PhoneNumber" = Option<String>, Query, description = "As `From`; the platform's own numbers"),
        ("Status" = Option<String>, Query, description = "Statuses with commas between"),
        ("Duration" = Option<String>, Query, description = "`gte:10s;lte:45s` or `eq:30s`"),
        ("Price" = Option<String>, Query, description = "`gte:0.10;lte:1.0`"),
        ("Direction" = Option<String>, Query, description = "`inbound`, `outbound-dial` or `outbound-api`"),
        ("PageSize" = Option<u32>, Query, description = "1 to 100, 50 if absent"),
        ("SortBy" = Option<String>, Query, description = "`DateCreated:asc` or `DateCreated:desc`"),
        ("Before" = Option<String>, Query, description = "From `PrevPageUri`"),
        ("After" = Option<String>, Query, description = "From `NextPageUri`"),
        ("details" = Option<String>, Query, description = "`true` for the legs"),
        ("RecordingUrlValidity" = Option<u32>, Query, description = "5 to 60 minutes"),
    ),
    responses(
        (status = 200, description = "`{\"Metadata\": {...}, \"Calls\": [...]}`", body = Object),
        (status = 400, description = "`RestException`: a parameter is wrong", body = Object),
        (status = 404, description = "`RestException`: no such account for this token", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, platform: Platform, RawQuery(query): RawQuery) -> Response {
    let done = async {
        let text = query.unwrap_or_default();
        let fields = Fields::parse(text.as_bytes());
        let account = door.vault.get_account(&platform.caller.account).await?;
        let asked = Asked::read(&fields, &account, door.vault.now())?;
        let page = asked.list(&door, &platform, &account).await?;
        let total = asked.count(&door, &platform, &account).await?;
        let sids: Vec<Sid> = page.records.iter().map(Record::sid).collect();
        let reader = platform.caller.reader();
        let recordings = door.vault.find_recordings_of(&account, &sids, reader).await?;
        let audio = AudioUrls::new(&door, &account, &platform.caller, asked.validity);
        let calls = asked.call_nodes(&door, &account, &page, &audio, &recordings);
        Ok((StatusCode::OK, asked.answer(&account, &page, calls, total, &text)))
    };
    platform.finish(done.await)
}

/// What a listing asks for.
struct Asked {
    sids: Option<HashSet<Sid>>,
    from: TimeUs,
    to: TimeUs,
    callers: Vec<Number>,
    called: Vec<Number>,
    own: Vec<Number>,
    statuses: Vec<CallStatus>,
    duration_s: Bounds,
    price_micros: Bounds,
    direction: Option<Direction>,
    page_size: usize,
    newest_first: bool,
    before: Option<Cursor>,
    after: Option<Cursor>,
    details: bool,
    validity: Option<u32>,
}

/// Both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bounds {
    pub(super) least: Option<i64>,
    pub(super) most: Option<i64>,
}

impl Bounds {
    /// `gte:10;lte:45`, `eq:30`; each value read by `read`.
    pub(super) fn parse(name: &str, text: &str, read: impl Fn(&str) -> Option<i64>) -> Result<Self, Fault> {
        let bad = || Fault::bad(name, "Expected gte:VALUE;lte:VALUE or eq:VALUE.");
        let mut bounds = Self::default();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (how, value) = part.split_once(':').ok_or_else(bad)?;
            let value = read(value.trim()).ok_or_else(bad)?;
            match how.trim().to_ascii_lowercase().as_str() {
                "gte" => bounds.least = Some(value),
                "gt" => bounds.least = Some(value.saturating_add(1)),
                "lte" => bounds.most = Some(value),
                "lt" => bounds.most = Some(value.saturating_sub(1)),
                "eq" => (bounds.least, bounds.most) = (Some(value), Some(value)),
                _ => return Err(bad()),
            }
        }
        Ok(bounds)
    }

    fn hold(self, value: Option<i64>) -> bool {
        match value {
            Some(value) => self.least.is_none_or(|least| least <= value) && self.most.is_none_or(|most| value <= most),
            None => self.least.is_none() && self.most.is_none(),
        }
    }
}

fn list_of<T>(
    name: &'static str,
    fields: &Fields,
    most: usize,
    read: impl Fn(&str) -> Result<T, Fault>,
) -> Result<Vec<T>, Fault> {
    let texts: Vec<&str> = fields
        .all(name)
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .collect();
    if texts.len() > most {
        return Err(Fault::bad(name, &format!("At most {most}.")));
    }
    texts.into_iter().map(read).collect()
}

/// Millionths from a decimal text.
fn read_price(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 6 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: i64 = format!("{part:0<6}").parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(part)
}

impl Asked {
    fn read(fields: &Fields, account: &Account, now: TimeUs) -> Result<Self, Fault> {
        let numbers = |name| list_of(name, fields, MAX_NUMBERS, |text| read_party(name, text, account));
        let sids = list_of("Sid", fields, MAX_LIST, |text| {
            let sid = text.to_ascii_lowercase().parse::<Sid>();
            sid.map_err(|_| Fault::bad("Sid", "Expected SIDs of 32 hexadecimal digits."))
        })?;
        let (from, to) = read_window(fields, account, now)?;
        let cursor = |name: &'static str| {
            let read = |text| parse_cursor(text).map_err(|_| Fault::bad(name, "Take it from the answer's page URIs."));
            fields.find(name).map(read).transpose()
        };
        let direction = |text: &str| {
            let known = Direction::from_name(text);
            known.ok_or_else(|| Fault::bad("Direction", "Expected inbound, outbound-dial or outbound-api."))
        };
        let asked = Self {
            sids: (!sids.is_empty()).then(|| sids.into_iter().collect()),
            from,
            to,
            callers: numbers("From")?,
            called: numbers("To")?,
            own: numbers("PhoneNumber")?,
            statuses: list_of("Status", fields, CallStatus::ALL.len(), |text| {
                CallStatus::from_name(text).ok_or_else(|| Fault::bad("Status", "Not a status of a call."))
            })?,
            duration_s: Bounds::parse("Duration", fields.find("Duration").unwrap_or_default(), |text| {
                text.trim_end_matches('s').parse().ok()
            })?,
            price_micros: Bounds::parse("Price", fields.find("Price").unwrap_or_default(), read_price)?,
            direction: fields.find("Direction").map(direction).transpose()?,
            page_size: fields.number("PageSize", 1..=100)?.unwrap_or(50) as usize,
            newest_first: match fields.find("SortBy").map(str::to_ascii_lowercase).as_deref() {
                None | Some("datecreated:desc") => true,
                Some("datecreated:asc") => false,
                Some(_) => return Err(Fault::bad("SortBy", "Expected DateCreated:asc or DateCreated:desc.")),
            },
            before: cursor("Before")?,
            after: cursor("After")?,
            details: fields.flag("details")?,
            validity: read_validity(fields)?,
        };
        match (&asked.before, &asked.after) {
            (Some(_), Some(_)) => Err(Fault::bad("Before", "Send Before or After, not both.")),
            _ => Ok(asked),
        }
    }

    fn matches(&self, call: &Call) -> bool {
        let among = |list: &[Number], number: &Number| list.is_empty() || list.contains(number);
        call.status.is_over()
            && self.sids.as_ref().is_none_or(|sids| sids.contains(&call.sid))
            && among(&self.callers, &call.from)
            && among(&self.called, &call.to)
            && among(&self.own, &call.exophone)
            && (self.statuses.is_empty() || self.statuses.contains(&call.status))
            && self.duration_s.hold(Some(i64::from(call.duration_s)))
            && self.price_micros.hold(call.price_micros)
            && self.direction.is_none_or(|direction| direction == call.direction)
    }

    /// The number that a listing is led by, if it is one alone: it is found through the locators.
    fn leading_number(&self) -> Option<Number> {
        [&self.callers, &self.called]
            .into_iter()
            .find(|list| list.len() == 1)
            .and_then(|list| list.first().cloned())
    }

    async fn fetch(&self, door: &Door, platform: &Platform, account: &Account, most: usize) -> Result<Page, Fault> {
        let filter = |record: &Record| matches!(record, Record::Call(call) if self.matches(call));
        // Going back is going forward the other way round.
        let backward = self.before.is_some();
        let query = Query {
            from: Some(self.from),
            to: Some(self.to),
            number: self.leading_number(),
            filter: Some(&filter),
            after: self.before.or(self.after),
            newest_first: self.newest_first != backward,
            limit: most,
        };
        let mut page = door
            .vault
            .list_records_of(account, Class::Call, &query, platform.caller.reader())
            .await?;
        if backward {
            page.records.reverse();
        }
        Ok(page)
    }

    async fn list(&self, door: &Door, platform: &Platform, account: &Account) -> Result<Page, Fault> {
        self.fetch(door, platform, account, self.page_size).await
    }

    /// How many there are, up to [`MAX_TOTAL`].
    async fn count(&self, door: &Door, platform: &Platform, account: &Account) -> Result<usize, Fault> {
        let filter = |record: &Record| matches!(record, Record::Call(call) if self.matches(call));
        let mut query = Query {
            from: Some(self.from),
            to: Some(self.to),
            number: self.leading_number(),
            filter: Some(&filter),
            limit: callvault_app::read::MAX_PAGE,
            ..Query::default()
        };
        let mut total = 0;
        loop {
            let page = door
                .vault
                .list_records_of(account, Class::Call, &query, platform.caller.reader())
                .await?;
            total += page.records.len();
            match page.next {
                Some(next) if total < MAX_TOTAL => query.after = Some(next),
                _ => return Ok(total.min(MAX_TOTAL)),
            }
        }
    }

    fn call_nodes(
        &self,
        door: &Door,
        account: &Account,
        page: &Page,
        audio: &AudioUrls<'_>,
        recordings: &HashMap<Sid, Sid>,
    ) -> Vec<Node> {
        let calls = page.records.iter().filter_map(|record| match record {
            Record::Call(call) => Some(call),
            _ => None,
        });
        let node = |call: &Call| {
            let mut node = call_node(door, account, call, audio, recordings.get(&call.sid).copied());
            if self.details
                && let Node::Map(members) = &mut node
            {
                members.push(("Details", details_node(call)));
            }
            node
        };
        calls.map(node).collect()
    }

    fn answer(&self, account: &Account, page: &Page, calls: Vec<Node>, total: usize, query: &str) -> Node {
        let place = |record: &Record| Cursor {
            at: record.at(),
            sid: record.sid(),
        };
        let uri = |cursor: Option<(&str, Cursor)>| page_uri(account, "Calls", query, cursor);
        let (first, last) = (page.records.first().map(place), page.records.last().map(place));
        let more_behind = if self.before.is_some() {
            true
        } else {
            page.next.is_some()
        };
        let more_before = if self.before.is_some() {
            page.next.is_some()
        } else {
            self.after.is_some()
        };
        let metadata = Node::Map(vec![
            ("Total", Node::Number(i64::try_from(total).unwrap_or(i64::MAX))),
            (
                "PageSize",
                Node::Number(i64::try_from(self.page_size).unwrap_or(i64::MAX)),
            ),
            ("FirstPageUri", Node::Text(uri(None))),
            (
                "PrevPageUri",
                Node::text(first.filter(|_| more_before).map(|at| uri(Some(("Before", at))))),
            ),
            (
                "NextPageUri",
                Node::text(last.filter(|_| more_behind).map(|at| uri(Some(("After", at))))),
            ),
        ]);
        Node::Map(vec![("Metadata", metadata), ("Calls", Node::List("Call", calls))])
    }
}

/// The same request, from another place on.
pub(super) fn page_uri(account: &Account, resource: &str, query: &str, cursor: Option<(&str, Cursor)>) -> String {
    let kept = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| !name.eq_ignore_ascii_case("before") && !name.eq_ignore_ascii_case("after"));
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(kept);
    if let Some((name, cursor)) = cursor {
        text.append_pair(name, &show_cursor(cursor));
    }
    let text = text.finish();
    let mark = if text.is_empty() { "" } else { "?" };
    format!("/v1/Accounts/{}/{resource}.json{mark}{text}", account.sid)
}

/// `YYYY-MM-DD HH:MM:SS` in the account's local time.
pub(super) fn read_local(text: &str, account: &Account) -> Option<i64> {
    let utc = TimeUs::parse(&format!("{}Z", text.trim().replacen([' ', '+'], "T", 1))).ok()?;
    Some(utc.0 - account.utc_offset_s() * SECOND_US)
}

/// `DateCreated`, or the last 31 days. The end is exclusive.
fn read_window(fields: &Fields, account: &Account, now: TimeUs) -> Result<(TimeUs, TimeUs), Fault> {
    let text = fields.find("DateCreated").unwrap_or_default();
    let bounds = Bounds::parse("DateCreated", text, |text| read_local(text, account))?;
    let window_us = WINDOW_DAYS * 86_400 * SECOND_US;
    // A second that is named is meant whole.
    let to = bounds.most.map(|most| most + SECOND_US);
    let (from, to) = match (bounds.least, to) {
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) => (from, from + window_us),
        (None, Some(to)) => (to - window_us, to),
        (None, None) => (now.0 - window_us, now.0 + SECOND_US),
    };
    if to - from > window_us + SECOND_US {
        return Err(Fault::bad("DateCreated", "The window is at most one month."));
    }
    Ok((TimeUs(from), TimeUs(to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_include_their_ends() {
        let number = |text: &str| text.parse().ok();
        let bounds = Bounds::parse("Duration", "gte:10;lte:45", number).expect("good");
        assert_eq!(
            [9, 10, 45, 46].map(|value| bounds.hold(Some(value))),
            [false, true, true, false]
        );
        assert!(!bounds.hold(None) && Bounds::default().hold(None));
        for bad in ["10", "gte:x", "about:3"] {
            assert!(Bounds::parse("Duration", bad, number).is_err(), "{bad}");
        }
        assert_eq!(
            [
                read_price("1.5"),
                read_price("0.10"),
                read_price("x"),
                read_price("1.-5")
            ],
            [Some(1_500_000), Some(100_000), None, None]
        );
    }
}
