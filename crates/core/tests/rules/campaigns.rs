//! Campaigns: nobody is called too often, too early, too late or too many at once, and everybody is through at the end.

use callvault_core::{
    Number, Sid, TimeUs,
    campaign::{
        Action, End, Mechanism, Pace, Progress, Retries, Stats, Status, Target, decide_action, next_look, plan_calls,
    },
    record::CallStatus,
};
use proptest::prelude::*;

const START: TimeUs = TimeUs(1_764_000_000_000_000);

fn retries() -> impl Strategy<Value = Retries> {
    let on = prop::collection::vec(
        prop::sample::select(vec![CallStatus::Busy, CallStatus::NoAnswer, CallStatus::Failed]),
        0..4,
    );
    let how = prop::sample::select(vec![Mechanism::Linear, Mechanism::Exponential]);
    (0..=3_u8, 1..90_u16, how, on).prop_map(|(number_of_retries, interval_mins, mechanism, on_status)| Retries {
        number_of_retries,
        interval_mins,
        mechanism,
        on_status,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn everybody_is_through_and_nobody_is_called_too_often(
        retries in retries(),
        per_minute in 1..20_u32,
        count in 1..40_usize,
        ends in prop::collection::vec((prop::sample::select(CallStatus::ALL.to_vec()), 0..200_u32), 1..50),
        gives_up_at in prop::option::of(0..40_usize),
    ) {
        let mut targets: Vec<Target> =
            (0..count).map(|n| Target::new(Number(format!("+9199{n:08}").into()), None, START)).collect();
        let (mut pace, mut now, mut begun, mut ends) = (Pace::default(), START, Vec::new(), ends.iter().cycle());
        let mut over: Vec<(usize, TimeUs, CallStatus)> = Vec::new();
        for round in 0.. {
            prop_assert!(round < 10_000, "it ends");
            let goes_on = gives_up_at.is_none_or(|last| round < last);
            for (index, at, status) in over.extract_if(.., |(_, at, _)| *at <= now) {
                targets[index].end(End { status, at, talk_s: 0 }, Some(&retries), goes_on);
            }
            if goes_on {
                for index in plan_calls(&targets, pace.room(per_minute, now) as usize, now) {
                    let (status, seconds) = ends.next().expect("a cycle");
                    let status = if status.is_over() { *status } else { CallStatus::Busy };
                    targets[index].begin(Sid::new(now, [0; 10]), now);
                    pace.count(1, now);
                    begun.push(now);
                    over.push((index, now.plus_seconds(i64::from(*seconds)), status));
                }
            } else {
                targets.iter_mut().for_each(|target| target.give_up(now));
            }
            let stats = Stats::of(&targets);
            prop_assert_eq!(stats.created, stats.completed + stats.failed + stats.pending);
            let Some(next) = next_look(&targets, now.plus_seconds(2)) else { break };
            let full = pace.room(per_minute, now) == 0;
            now = next.max(TimeUs(now.0 + 1)).max(if full { pace.next_room_at() } else { START });
        }
        let stats = Stats::of(&targets);
        prop_assert_eq!((stats.pending, stats.created), (0, count as u64));
        for target in &targets {
            prop_assert!(target.attempts.len() <= 1 + usize::from(retries.number_of_retries));
            for pair in target.attempts.windows(2) {
                let end = pair[0].end.expect("over before the next begins");
                let pause_s = (pair[1].at.0 - end.at.0) / 1_000_000;
                prop_assert!(pause_s >= i64::from(retries.interval_mins) * 60, "{}", pause_s);
                prop_assert!(retries.on_status.contains(&end.status));
            }
            let reached = target.attempts.last().and_then(|last| last.end).is_some_and(|end| end.status == CallStatus::Completed);
            prop_assert_eq!(matches!(target.progress, Progress::Completed(_)), reached);
        }
        // Fixed minutes: in any of them no more than the throttle.
        for first in &begun {
            let within = begun.iter().filter(|at| **at >= *first && at.0 < first.0 + 60_000_000).count();
            prop_assert!(within <= 2 * per_minute as usize, "{} in a minute", within);
        }
    }
}

#[test]
fn actions_are_what_the_platform_documents() {
    use Status::{Archived, Canceled, Completed, Created, Failed, InProgress, Paused};
    let allowed = |status, action, begun| decide_action(status, action, begun).into_result().ok();
    for (status, pause, resume, complete, archive, cancel) in [
        (Created, Some(Paused), None, None, None, Some(Canceled)),
        (InProgress, Some(Paused), None, None, None, Some(Canceled)),
        (Paused, None, Some(InProgress), Some(Completed), None, Some(Canceled)),
        (Completed, None, None, None, Some(Archived), Some(Completed)),
        (Failed, None, None, None, None, Some(Failed)),
        (Canceled, None, None, None, None, Some(Canceled)),
        (Archived, None, None, None, None, Some(Archived)),
    ] {
        let seen = Action::ALL.map(|action| allowed(status, action, true));
        assert_eq!(seen, [pause, resume, complete, archive, cancel], "{status:?}");
    }
    assert_eq!(allowed(Paused, Action::Resume, false), Some(Created));
    let refusal = decide_action(Created, Action::Archive, false)
        .into_result()
        .expect_err("not yet");
    assert!(refusal.reason.contains("has to be Completed"), "{refusal}");
    assert_eq!(Status::from_name("in-progress"), Some(InProgress));
}

#[test]
fn pauses_grow_as_they_are_told_to() {
    let mut retries = Retries {
        number_of_retries: 3,
        interval_mins: 10,
        mechanism: Mechanism::Linear,
        on_status: vec![CallStatus::Busy],
    };
    let minutes = |retries: &Retries| {
        [1, 2, 3, 4].map(|attempt| {
            let next = retries.next_at(attempt, CallStatus::Busy, START);
            next.map(|at| (at.0 - START.0) / 60_000_000)
        })
    };
    assert_eq!(minutes(&retries), [Some(10), Some(10), Some(10), None]);
    retries.mechanism = Mechanism::Exponential;
    assert_eq!(minutes(&retries), [Some(10), Some(20), Some(40), None]);
    assert_eq!(retries.next_at(1, CallStatus::NoAnswer, START), None);
}
