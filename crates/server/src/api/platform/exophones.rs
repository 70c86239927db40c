//! `/v2_beta/Accounts/{sid}/IncomingPhoneNumbers`: the platform's numbers that an account has (ExoPhones).

use std::sync::Arc;

use axum::{
    extract::{Path, RawQuery, State},
    http::StatusCode,
    response::Response,
};
use callvault_app::{
    document::Document,
    exophone::{Exophone, MAX_NAME_CHARS},
};

use super::{
    call::read_sid,
    form::{AnyBody, Fields, read_party},
    reply::{Fault, Node, Platform},
};
use crate::door::Door;

/// A value under the name of a form or of the newer JSON.
fn either<'f>(fields: &'f Fields, names: [&str; 2]) -> Option<&'f str> {
    names.into_iter().find_map(|name| fields.find(name))
}

fn read_url(fields: &Fields, names: [&'static str; 2]) -> Result<Option<String>, Fault> {
    let [form, json] = names;
    Ok(fields.url(form)?.or(fields.url(json)?))
}

fn node_of(exophone: &Document<Exophone>, whole: bool) -> Node {
    let body = &exophone.body;
    let capabilities = Node::Map(vec![("voice", Node::Flag(true)), ("sms", Node::Flag(true))]);
    let mut members = vec![
        ("sid", Node::Text(exophone.id.to_string())),
        ("phone_number", Node::Text(body.number.as_str().to_owned())),
        ("friendly_name", Node::Text(body.friendly_name.clone())),
        ("capabilities", capabilities),
        ("country", Node::text(body.country())),
        ("region", Node::Nothing),
    ];
    if whole {
        members.push(("voice_url", Node::text(body.voice_url.clone())));
        members.push(("sms_url", Node::text(body.sms_url.clone())));
        members.push(("date_created", Node::Text(exophone.at.to_string())));
        members.push(("date_updated", Node::Text(exophone.updated_at.to_string())));
    }
    Node::Map(members)
}

/// List the account's numbers
#[utoipa::path(
    get, path = "/v2_beta/accounts/{account}/incomingphonenumbers", tag = "platform", operation_id = "list_exophones",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("Page" = Option<u32>, Query, description = "Counted from 0"),
        ("PageSize" = Option<u32>, Query, description = "1 to 100, 50 if absent"),
    ),
    responses(
        (status = 200, description = "`{\"page\", \"page_size\", \"incoming_phone_numbers\": [...]}`", body = Object),
        (status = 400, description = "`RestException`: a parameter is wrong", body = Object),
        (status = 404, description = "`RestException`: no such account for this token", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn list(State(door): State<Arc<Door>>, platform: Platform, RawQuery(query): RawQuery) -> Response {
    let done = async {
        let fields = Fields::parse(query.unwrap_or_default().as_bytes());
        let size = fields
            .number("PageSize", 1..=100)?
            .or(fields.number("page_size", 1..=100)?);
        let (page, size) = (fields.number("Page", 0..=100_000)?.unwrap_or(0), size.unwrap_or(50));
        let account = door.vault.get_account(&platform.caller.account).await?;
        let (found, _) = door.vault.list_exophones(&account, page * size, size).await?;
        let numbers = found.iter().map(|exophone| node_of(exophone, false)).collect();
        let node = Node::Map(vec![
            ("page", Node::Number(i64::from(page))),
            ("page_size", Node::Number(i64::from(size))),
            ("incoming_phone_numbers", Node::List("incoming_phone_number", numbers)),
        ]);
        Ok((StatusCode::OK, node))
    };
    platform.finish(done.await)
}

/// One of the account's numbers
#[utoipa::path(
    get, path = "/v2_beta/accounts/{account}/incomingphonenumbers/{sid}", tag = "platform", operation_id = "get_exophone",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the number"),
    ),
    responses(
        (status = 200, description = "The number, with what answers it", body = Object),
        (status = 404, description = "`RestException`: there is none", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn get(State(door): State<Arc<Door>>, platform: Platform, Path(place): Path<(String, String)>) -> Response {
    let done = async {
        let sid = read_sid(&place.1, "exophone")?;
        let account = door.vault.get_account(&platform.caller.account).await?;
        let exophone = door.vault.get_exophone(&account, sid).await?;
        Ok((StatusCode::OK, node_of(&exophone, true)))
    };
    platform.finish(done.await)
}

/// Take a number
///
/// There is no platform to buy from: the number that is named is the account's from now on. A form, or JSON, with
/// `PhoneNumber`, and `FriendlyName`, `VoiceUrl` and `SmsUrl` if there are any; `phone_number` and so on as well.
#[utoipa::path(
    post, path = "/v2_beta/accounts/{account}/incomingphonenumbers", tag = "platform", operation_id = "add_exophone",
    params(("account" = String, Path, description = "Account SID")),
    request_body(content((Object = "application/json"), (String = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "The number", body = Object),
        (status = 404, description = "`RestException`: no such account for this token", body = Object),
        (status = 409, description = "`RestException`: the account has it already", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn create(State(door): State<Arc<Door>>, platform: Platform, AnyBody(fields): AnyBody) -> Response {
    let done = async {
        let fields = fields?;
        let account = door.vault.get_account(&platform.caller.account).await?;
        let number = either(&fields, ["PhoneNumber", "phone_number"]);
        let number = number.ok_or_else(|| Fault::bad("PhoneNumber", "Mandatory parameter missing."))?;
        let number = read_party("PhoneNumber", number, &account)?;
        let name = either(&fields, ["FriendlyName", "friendly_name"]);
        let exophone = Exophone {
            friendly_name: name.unwrap_or(number.as_str()).to_owned(),
            number,
            voice_url: read_url(&fields, ["VoiceUrl", "voice_url"])?,
            sms_url: read_url(&fields, ["SmsUrl", "sms_url"])?,
        };
        let made = door.vault.add_exophone(&account, exophone).await?;
        Ok((StatusCode::OK, node_of(&made, true)))
    };
    platform.finish(done.await)
}

/// Change what answers a number
///
/// `FriendlyName`, `VoiceUrl`, `SmsUrl`; what is not sent stays.
#[utoipa::path(
    put, path = "/v2_beta/accounts/{account}/incomingphonenumbers/{sid}", tag = "platform", operation_id = "update_exophone",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the number"),
    ),
    request_body(content((Object = "application/json"), (String = "application/x-www-form-urlencoded"))),
    responses(
        (status = 200, description = "The number as it is now", body = Object),
        (status = 404, description = "`RestException`: there is none", body = Object),
        (status = 409, description = "`RestException`: somebody else changes it", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn update(
    State(door): State<Arc<Door>>,
    platform: Platform,
    Path(place): Path<(String, String)>,
    AnyBody(fields): AnyBody,
) -> Response {
    let done = async {
        let fields = fields?;
        let sid = read_sid(&place.1, "exophone")?;
        let name = either(&fields, ["FriendlyName", "friendly_name"]).map(ToOwned::to_owned);
        if name.as_ref().is_some_and(|name| name.chars().count() > MAX_NAME_CHARS) {
            return Err(Fault::bad("FriendlyName", "Longer than 255 characters."));
        }
        let voice_url = read_url(&fields, ["VoiceUrl", "voice_url"])?;
        let sms_url = read_url(&fields, ["SmsUrl", "sms_url"])?;
        let account = door.vault.get_account(&platform.caller.account).await?;
        let change = |exophone: &mut Exophone| {
            exophone.friendly_name = name.clone().unwrap_or_else(|| exophone.friendly_name.clone());
            exophone.voice_url = voice_url.clone().or_else(|| exophone.voice_url.clone());
            exophone.sms_url = sms_url.clone().or_else(|| exophone.sms_url.clone());
        };
        let changed = door.vault.change_exophone(&account, sid, &change).await?;
        Ok((StatusCode::OK, node_of(&changed, true)))
    };
    platform.finish(done.await)
}

/// Release a number
///
/// The account has it no more.
#[utoipa::path(
    delete, path = "/v2_beta/accounts/{account}/incomingphonenumbers/{sid}", tag = "platform", operation_id = "release_exophone",
    params(
        ("account" = String, Path, description = "Account SID"),
        ("sid" = String, Path, description = "SID of the number"),
    ),
    responses(
        (status = 202, description = "`{\"Status\": 202, \"Message\": \"Accepted\"}`", body = Object),
        (status = 404, description = "`RestException`: there is none", body = Object),
        (status = 409, description = "`RestException`: a legal hold freezes it", body = Object),
        (status = 429, description = "`RestException`: over the rate limit", body = Object),
    ),
    security(("token" = [])),
)]
pub async fn release(
    State(door): State<Arc<Door>>,
    platform: Platform,
    Path(place): Path<(String, String)>,
) -> Response {
    let done = async {
        let sid = read_sid(&place.1, "exophone")?;
        door.vault.release_exophone(&platform.caller.account, sid).await?;
        let node = Node::Map(vec![
            ("Status", Node::Number(202)),
            ("Message", Node::Text("Accepted".to_owned())),
        ]);
        Ok((StatusCode::ACCEPTED, node))
    };
    platform.finish(done.await)
}
