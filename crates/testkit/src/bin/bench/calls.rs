//! Generated calls, as CSV: one file an account for the vault, the same rows with account and SID for its peers.
//!
//! Accounts are of very unequal size (Zipf, exponent 1.2). Times have whole seconds and `source_id` is
//! `<start>.<sequence>`, as Asterisk writes them; a subscriber calls or is called some eight times in the thirty days, and
//! five regulars of each account have a thousandth of its calls each.

use std::{
    fmt::Write as _,
    fs::File,
    io::{BufWriter, Result, Write},
    path::{Path, PathBuf},
};

use callvault_core::{Number, TimeUs};

/// The vault's columns, in its own CSV.
pub(crate) const HEADER: &str =
    "at,source_id,direction,from,to,exophone,status,answered_at,ended_at,duration_s,talk_s,price_micros,caller_name\n";
pub(crate) const DAYS: u64 = 30;
const EXPONENT: f64 = 1.2;
const DAY_S: u64 = 86_400;
const REGULARS: u64 = 5;

/// What is generated.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) rows: u64,
    rank: u64,
}

/// The accounts, the largest first.
pub(crate) fn accounts(rows: u64, count: u64) -> Vec<Account> {
    let weight = |rank: u64| 1.0 / (rank as f64).powf(EXPONENT);
    let total: f64 = (1..=count).map(weight).sum();
    let mut all: Vec<Account> = (1..=count)
        .map(|rank| Account {
            name: format!("acct-{rank:03}"),
            rows: (rows as f64 * weight(rank) / total) as u64,
            rank,
        })
        .collect();
    let short = rows - all.iter().map(|account| account.rows).sum::<u64>();
    if let Some(first) = all.first_mut() {
        first.rows += short;
    }
    all
}

impl Account {
    fn subscribers(&self) -> u64 {
        self.rows / 8 + 50
    }

    /// A subscriber: the first five are regulars.
    pub(crate) fn subscriber(&self, index: u64) -> Number {
        Number(number(self.rank, index % self.subscribers()).into())
    }

    /// Subscribers spread over all of them, regulars left out.
    pub(crate) fn sample(&self, count: u64) -> Vec<Number> {
        let step = (self.subscribers() - REGULARS) / count;
        (0..count)
            .map(|i| self.subscriber(REGULARS + i * step.max(1)))
            .collect()
    }
}

fn mix(seed: u64) -> u64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn number(rank: u64, index: u64) -> String {
    format!("+91{}", 6_000_000_000 + mix((rank << 40) | index) % 4_000_000_000)
}

/// A day's moment: nine calls in ten come between 08:00 and 22:00.
fn second_of_day(part: f64) -> u64 {
    let hours = if part < 0.05 {
        part / 0.05 * 8.0
    } else if part < 0.95 {
        8.0 + (part - 0.05) / 0.9 * 14.0
    } else {
        22.0 + (part - 0.95) / 0.05 * 2.0
    };
    ((hours * 3600.0) as u64).min(DAY_S - 1)
}

/// Writes `rows` calls of an account over these days, in order of time: to `own` as the vault reads them, to `peer` with
/// account and SID before.
pub(crate) fn write_calls(
    account: &Account,
    first_day: TimeUs,
    days: u64,
    own: &mut dyn Write,
    peer: Option<&mut dyn Write>,
) -> Result<()> {
    const NAMES: [&str; 12] = [
        "Asha Rao",
        "Vikram Shah",
        "Meera Iyer",
        "Rahul Verma",
        "Divya Nair",
        "Sunil Gupta",
        "Priya Menon",
        "Arjun Das",
        "Kavya Reddy",
        "Manoj Joshi",
        "Neha Kapoor",
        "Anil Kumar",
    ];
    let mut peer = peer;
    own.write_all(HEADER.as_bytes())?;
    let mut random = mix(account.rank);
    let mut next = move || {
        random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(random)
    };
    let (mut line, mut lead) = (String::new(), String::new());
    let stamp = |line: &mut String, seconds: u64| {
        let at = TimeUs(first_day.0 + (seconds as i64) * 1_000_000);
        let _ = write!(line, "{at}");
    };
    let first_s = first_day.0 as u64 / 1_000_000;
    for row in 0..account.rows {
        line.clear();
        let place = row as f64 * days as f64 / account.rows as f64;
        let at_s = place as u64 * DAY_S + second_of_day(place.fract());
        stamp(&mut line, at_s);
        let r = next();
        let subscriber = match r % 1_000 {
            regular if regular < REGULARS => number(account.rank, regular),
            _ => number(account.rank, REGULARS + next() % (account.subscribers() - REGULARS)),
        };
        let agent = number(account.rank, (1 << 39) + (r >> 10) % 40);
        let exophone = format!("+9180{:08}", mix(account.rank ^ ((r >> 20) % 8) << 20) % 100_000_000);
        let (direction, from, to) = match (r >> 30) % 5 {
            0 | 1 => ("inbound", &subscriber, &agent),
            2 | 3 => ("outbound-api", &agent, &subscriber),
            _ => ("outbound-dial", &agent, &subscriber),
        };
        let (ring, talk) = ((r >> 34) % 30 + 1, (r >> 40) % 600);
        let _ = write!(line, ",{}.{row},{direction},{from},{to},{exophone},", first_s + at_s);
        match (r >> 50) % 20 {
            0..14 => {
                line.push_str("completed,");
                stamp(&mut line, at_s + ring);
                line.push(',');
                stamp(&mut line, at_s + ring + talk);
                let _ = write!(line, ",{},{talk},{},", ring + talk, talk.div_ceil(60) * 900_000);
            }
            other => {
                line.push_str(if other < 17 {
                    "no-answer,,"
                } else if other < 19 {
                    "busy,,"
                } else {
                    "failed,,"
                });
                stamp(&mut line, at_s + ring);
                let _ = write!(line, ",{ring},0,0,");
            }
        }
        if (r >> 56) % 10 < 3 {
            line.push_str(NAMES.get((r >> 60) as usize % NAMES.len()).copied().unwrap_or_default());
        }
        line.push('\n');
        own.write_all(line.as_bytes())?;
        if let Some(peer) = &mut peer {
            lead.clear();
            let (ms, high, low) = ((first_s + at_s) * 1_000, next(), next());
            let _ = write!(
                lead,
                "{},{:08x}-{:04x}-{:04x}-{:04x}-{:012x},",
                account.name,
                ms >> 16,
                ms & 0xffff,
                high & 0xffff,
                (high >> 16) & 0xffff,
                low & 0xffff_ffff_ffff
            );
            peer.write_all(lead.as_bytes())?;
            peer.write_all(line.as_bytes())?;
        }
    }
    Ok(())
}

/// Where the files are.
pub(crate) struct Corpus {
    pub(crate) accounts: Vec<Account>,
    pub(crate) own: PathBuf,
    pub(crate) parts: [PathBuf; 2],
    pub(crate) own_bytes: u64,
}

impl Corpus {
    /// An account's file.
    pub(crate) fn file(&self, account: &Account) -> PathBuf {
        self.own.join(format!("{}.csv", account.name))
    }

    /// Writes everything below `folder`.
    pub(crate) fn generate(folder: &Path, rows: u64, count: u64, first_day: TimeUs) -> Result<Self> {
        let (own, peer) = (folder.join("own"), folder.join("peer"));
        std::fs::create_dir_all(&own)?;
        std::fs::create_dir_all(&peer)?;
        let parts = [peer.join("part0.csv"), peer.join("part1.csv")];
        let [first, second] = &parts;
        let mut writers = [
            (BufWriter::new(File::create(first)?), 0),
            (BufWriter::new(File::create(second)?), 0),
        ];
        let mut corpus = Self {
            accounts: accounts(rows, count),
            own,
            parts,
            own_bytes: 0,
        };
        for account in &corpus.accounts {
            let mut file = BufWriter::new(File::create(corpus.file(account))?);
            writers.sort_by_key(|writer| writer.1);
            let [(lighter, load), _] = &mut writers;
            *load += account.rows;
            write_calls(account, first_day, DAYS, &mut file, Some(lighter))?;
            file.flush()?;
            corpus.own_bytes += file.get_ref().metadata()?.len();
        }
        for (writer, _) in &mut writers {
            writer.flush()?;
        }
        Ok(corpus)
    }
}

/// The file of an account with `rows` calls on each of `days` days.
pub(crate) fn write_days(
    folder: &Path,
    name: &str,
    rows: u64,
    first_day: TimeUs,
    days: u64,
) -> Result<(PathBuf, PathBuf)> {
    let (own, peer) = (
        folder.join(format!("{name}.csv")),
        folder.join(format!("{name}-peer.csv")),
    );
    let account = Account {
        name: name.to_owned(),
        rows: rows * days,
        rank: 900 + days,
    };
    let mut file = BufWriter::new(File::create(&own)?);
    write_calls(&account, first_day, days, &mut file, None)?;
    file.flush()?;
    let one = Account { rows, ..account };
    let mut file = BufWriter::new(File::create(&peer)?);
    write_calls(&one, first_day, 1, &mut std::io::sink(), Some(&mut file))?;
    file.flush()?;
    Ok((own, peer))
}
