//! Asterisk's `Master.csv` (`cdr/cdr_csv.c`, `build_csv_record`).
//!
//! Columns 1 to 16 are always there; `loguniqueid` and `loguserfield` add one each, `newcdrcolumns` (Asterisk 16 and
//! newer) three more: `linkedid`, `peeraccount`, `sequence`.

use std::borrow::Cow;

use callvault_core::{
    Number, Sid, TimeUs,
    record::{Call, CallStatus, Direction, Record},
    time::SECOND_US,
};

use super::{
    Fault, SidMaker,
    context::{CallFields, Context, check_call, check_extra, check_name, is_telephone, parse_count},
    json::push_member,
    moment::civil_seconds,
    own_csv::{split_row, wrong_column_count},
};

const MIN_COLUMNS: usize = 16;
const MAX_COLUMNS: usize = 21;

const ACCOUNTCODE: usize = 0;
const SRC: usize = 1;
const DST: usize = 2;
const DCONTEXT: usize = 3;
const CLID: usize = 4;
const CHANNEL: usize = 5;
const DSTCHANNEL: usize = 6;
const START: usize = 9;
const ANSWER: usize = 10;
const END: usize = 11;
const DURATION: usize = 12;
const BILLSEC: usize = 13;
const DISPOSITION: usize = 14;

const CALL_FIELDS: CallFields = CallFields {
    answered: "answer",
    ended: "end",
    talk: "billsec",
};

/// Whether a row looks like one of `Master.csv`: the number of columns fits, and the tenth is a local time.
pub(crate) fn looks_like(row: &str) -> bool {
    let mut columns = split_row(row);
    let start = columns
        .nth(START)
        .is_some_and(|start| civil_seconds(start.as_bytes()).is_some());
    start && (MIN_COLUMNS..=MAX_COLUMNS).contains(&(START + 1 + columns.count()))
}

/// The names of the columns behind the sixteenth.
fn tail_names(columns: &[Cow<'_, str>]) -> &'static [&'static str] {
    const ALL: [&str; 5] = ["uniqueid", "userfield", "linkedid", "peeraccount", "sequence"];
    let has_unique_id = columns
        .get(MIN_COLUMNS)
        .is_some_and(|text| unique_id_seconds(text).is_some());
    match (columns.len() - MIN_COLUMNS, has_unique_id) {
        (0, _) => &[],
        (1, true) => &["uniqueid"],
        (1, false) => &["userfield"],
        (2, _) => &ALL[..2],
        (3, _) => &ALL[2..],
        (4, true) => &["uniqueid", "linkedid", "peeraccount", "sequence"],
        (4, false) => &ALL[1..],
        _ => &ALL,
    }
}

/// The seconds since 1970 in a `uniqueid`: `1738315800.12`, or `pbx1-1738315800.12` with a system name.
fn unique_id_seconds(text: &str) -> Option<i64> {
    let last = text.rsplit('-').next()?;
    let (seconds, serial) = last.split_once('.')?;
    let digits = |part: &str| !part.is_empty() && part.len() <= 12 && part.bytes().all(|byte| byte.is_ascii_digit());
    if digits(seconds) && digits(serial) {
        seconds.parse().ok()
    } else {
        None
    }
}

/// Reads one row.
pub(crate) fn read_row<S: SidMaker>(row: &str, cx: &mut Context<S>) -> Result<Record, Fault> {
    let mut columns: [Cow<'_, str>; MAX_COLUMNS] = [const { Cow::Borrowed("") }; MAX_COLUMNS];
    let mut count = 0;
    for column in split_row(row) {
        if let Some(slot) = columns.get_mut(count) {
            *slot = column;
        }
        count += 1;
    }
    if !(MIN_COLUMNS..=MAX_COLUMNS).contains(&count) {
        return Err(wrong_column_count(count, "16 to 21"));
    }
    let columns = &columns[..count];
    let tail = tail_names(columns);
    let unique_id = (tail.first() == Some(&"uniqueid"))
        .then(|| columns[MIN_COLUMNS].as_ref())
        .filter(|id| !id.is_empty());

    let at = required_moment(columns, START, "start", unique_id.and_then(unique_id_seconds), cx)?;
    let duration_s = parse_count("duration", &columns[DURATION])?;
    let talk_s = parse_count("billsec", &columns[BILLSEC])?;
    let start_s = at.0 / SECOND_US;
    let answered_at = moment(columns, ANSWER, "answer", Some(start_s), cx)?;
    let ended_at = moment(columns, END, "end", Some(start_s + i64::from(duration_s)), cx)?;
    let status = status(&columns[DISPOSITION])?;
    let (name, clid_number) = split_clid(&columns[CLID]);
    let source = if columns[SRC].is_empty() {
        clid_number
    } else {
        &columns[SRC]
    };
    let from = cx.number("src", source)?;
    let to = destination(columns, cx)?;
    let direction = direction(&columns[DCONTEXT], &from, &to);
    let account_number = cx
        .number("accountcode", &columns[ACCOUNTCODE])
        .ok()
        .filter(is_telephone);
    let exophone = account_number.clone().unwrap_or_else(|| match direction {
        Direction::Inbound if is_telephone(&to) => to.clone(),
        Direction::OutboundDial | Direction::OutboundApi => cx
            .number("clid", clid_number)
            .ok()
            .filter(is_telephone)
            .unwrap_or_default(),
        Direction::Inbound => Number::default(),
    });
    if let Some(id) = unique_id {
        check_name("uniqueid", id)?;
    }
    check_name("clid", name)?;
    let mut call = Call {
        sid: Sid([0; 16]),
        at,
        source_id: unique_id.map(Into::into),
        direction,
        from,
        to,
        exophone,
        status,
        answered_at,
        ended_at,
        duration_s,
        talk_s,
        price_micros: None,
        caller_name: (!name.is_empty()).then(|| name.into()),
        extra: extra(columns, tail, account_number.is_some(), clid_number == source)?,
    };
    check_call(&call, &CALL_FIELDS)?;
    call.sid = make_sid(columns, at, cx);
    Ok(Record::Call(call))
}

/// The SID comes from the whole row: one `uniqueid` may have several rows (a forked or transferred call), and rerunning
/// the same file must find the same SIDs.
fn make_sid<S: SidMaker>(columns: &[Cow<'_, str>], at: TimeUs, cx: &mut Context<S>) -> Sid {
    let mut source = std::mem::take(&mut cx.scratch);
    source.clear();
    source.push_str("asterisk");
    for column in columns {
        source.push('\u{1f}');
        source.push_str(column);
    }
    let sid = cx.make_sid(&source, at);
    cx.scratch = source;
    sid
}

fn moment<S: SidMaker>(
    columns: &[Cow<'_, str>],
    column: usize,
    name: &'static str,
    near: Option<i64>,
    cx: &mut Context<S>,
) -> Result<Option<TimeUs>, Fault> {
    let text = columns[column].as_ref();
    if text.is_empty() {
        return Ok(None);
    }
    let at = civil_seconds(text.as_bytes())
        .and_then(|seconds| cx.clock.moment(seconds, near))
        .ok_or_else(|| Fault::field(name, "not-a-time", "expected YYYY-MM-DD HH:MM:SS"))?;
    cx.check_moment(name, at).map(Some)
}

fn required_moment<S: SidMaker>(
    columns: &[Cow<'_, str>],
    column: usize,
    name: &'static str,
    near: Option<i64>,
    cx: &mut Context<S>,
) -> Result<TimeUs, Fault> {
    moment(columns, column, name, near, cx)?
        .ok_or_else(|| Fault::field(name, "missing-field", "this column is required"))
}

/// The words of `ast_cdr_disp2str`.
fn status(disposition: &str) -> Result<CallStatus, Fault> {
    Ok(match disposition {
        "ANSWERED" => CallStatus::Completed,
        "NO ANSWER" => CallStatus::NoAnswer,
        "BUSY" => CallStatus::Busy,
        "FAILED" | "CONGESTION" | "UNKNOWN" => CallStatus::Failed,
        _ => {
            return Err(Fault::field(
                "disposition",
                "unknown-value",
                "expected ANSWERED, NO ANSWER, BUSY, FAILED, CONGESTION or UNKNOWN",
            ));
        }
    })
}

/// `"Name" <number>` as its two parts; either may be missing.
fn split_clid(clid: &str) -> (&str, &str) {
    let Some((name, number)) = clid.strip_suffix('>').and_then(|clid| clid.rsplit_once('<')) else {
        return ("", clid.trim());
    };
    let name = name.trim();
    (
        name.strip_prefix('"')
            .and_then(|name| name.strip_suffix('"'))
            .unwrap_or(name),
        number,
    )
}

/// Whom the call went to. Asterisk's special extensions (`s`, `h`, `i`, `t` and the like) are no party: then the peer in
/// `dstchannel` (`PJSIP/1001-0000002a`) is.
fn destination<S: SidMaker>(columns: &[Cow<'_, str>], cx: &mut Context<S>) -> Result<Number, Fault> {
    let dst = columns[DST].as_ref();
    if matches!(dst, "s" | "h" | "i" | "t" | "T" | "o" | "a" | "e" | "") {
        let peer = channel_peer(&columns[DSTCHANNEL]);
        if let Some(peer) = peer.filter(|peer| peer.bytes().all(|byte| byte.is_ascii_digit() || byte == b'+')) {
            return cx.number("dstchannel", peer);
        }
    }
    cx.number("dst", dst)
}

fn channel_peer(channel: &str) -> Option<&str> {
    let (_, peer) = channel.split_once('/')?;
    let peer = peer.rsplit_once('-').map_or(peer, |(peer, _)| peer);
    let peer = peer.split('@').next()?;
    (!peer.is_empty()).then_some(peer)
}

/// Asterisk does not say which way a call went: its dialplan context tells where it came from, else its parties do.
fn direction(context: &str, from: &Number, to: &Number) -> Direction {
    let says = |words: &[&str]| {
        words.iter().any(|word| {
            context
                .as_bytes()
                .windows(word.len())
                .any(|window| window.eq_ignore_ascii_case(word.as_bytes()))
        })
    };
    if says(&[
        "from-trunk",
        "from-pstn",
        "from-did",
        "from-external",
        "from-sip-external",
        "incoming",
        "inbound",
        "ext-did",
    ]) {
        return Direction::Inbound;
    }
    if says(&["outbound", "outgoing", "outrt", "from-internal"]) {
        return Direction::OutboundDial;
    }
    if !is_telephone(from) && !from.is_withheld() && is_telephone(to) {
        Direction::OutboundDial
    } else {
        Direction::Inbound
    }
}

/// Every column that no field of a call takes over whole.
fn extra(
    columns: &[Cow<'_, str>],
    tail: &[&'static str],
    account_taken: bool,
    clid_taken: bool,
) -> Result<Option<Box<str>>, Fault> {
    const REST: [(usize, &str); 7] = [
        (DCONTEXT, "dcontext"),
        (CHANNEL, "channel"),
        (DSTCHANNEL, "dstchannel"),
        (7, "lastapp"),
        (8, "lastdata"),
        (15, "amaflags"),
        (DST, "dst"),
    ];
    // Room for the names and the longest columns, so that it grows once at most.
    let mut out = String::with_capacity(256);
    let mut keep = |name: &str, text: &str| {
        if !text.is_empty() {
            push_member(&mut out, name, text);
        }
    };
    if !account_taken {
        keep("accountcode", &columns[ACCOUNTCODE]);
    }
    if !clid_taken {
        keep("clid", &columns[CLID]);
    }
    for (column, name) in REST {
        // A special extension is mapped to its peer, so what was dialled is kept beside it.
        if column != DST || columns[DST].len() == 1 {
            keep(name, &columns[column]);
        }
    }
    if matches!(columns[DISPOSITION].as_ref(), "CONGESTION" | "UNKNOWN") {
        keep("disposition", &columns[DISPOSITION]);
    }
    for (name, text) in tail.iter().zip(&columns[MIN_COLUMNS..]) {
        if *name != "uniqueid" {
            keep(name, text);
        }
    }
    if out.is_empty() {
        return Ok(None);
    }
    out.push('}');
    check_extra(&out)?;
    Ok(Some(out.into_boxed_str()))
}
