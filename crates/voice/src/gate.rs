//! The consent gate: the only way to audio that is kept (spec 2.2, design "Calls").
//!
//! A [`Gate`] has a call's whole consent story and the audio that rests on it. A [`Take`] is made by the gate alone, when the story
//! says that frames may be kept; frames reach it while it says so; it is destroyed when the person says no. Before that moment no
//! take exists, so that there is nothing a frame could be written to.

use async_trait::async_trait;
use bytes::Bytes;
use callvault_app::core::{
    TimeUs,
    consent::{Consenting, Effect, Event},
};

/// Keeps what a call says.
#[async_trait]
pub trait Studio: Send + Sync {
    /// What is kept of one call.
    type Take: Take<Error = Self::Error>;
    /// What can go wrong.
    type Error: Send;

    /// Begins a take. The story says on what it rests.
    ///
    /// # Errors
    /// Those of the store.
    async fn begin(&self, story: &Consenting) -> Result<Self::Take, Self::Error>;
}

/// Audio that is being kept.
#[async_trait]
pub trait Take: Send {
    /// What can go wrong.
    type Error: Send;

    /// Keeps the next audio.
    ///
    /// # Errors
    /// Those of the store.
    async fn write(&mut self, audio: Bytes) -> Result<(), Self::Error>;

    /// The take is whole, and rests on this story. Called again when it failed.
    ///
    /// # Errors
    /// Those of the store.
    async fn finish(&mut self, story: &Consenting) -> Result<(), Self::Error>;

    /// Nothing of it is to be left, as this story says. Called again when it failed.
    ///
    /// # Errors
    /// Those of the store.
    async fn destroy(&mut self, story: &Consenting) -> Result<(), Self::Error>;
}

/// A call's consent, and what it lets be kept.
pub struct Gate<S: Studio> {
    studio: S,
    story: Consenting,
    take: Option<S::Take>,
    /// Whether the take has to go, whatever the person says afterwards.
    is_doomed: bool,
}

impl<S: Studio> Gate<S> {
    /// The gate of a call that begins.
    pub const fn new(studio: S, story: Consenting) -> Self {
        Self {
            studio,
            story,
            take: None,
            is_doomed: false,
        }
    }

    /// The call's consent so far.
    pub const fn story(&self) -> &Consenting {
        &self.story
    }

    /// Notes an event, and does what follows from it before this returns. [`Effect::Destroy`] after the end says that the recording,
    /// which is the vault's by then, has to go.
    ///
    /// # Errors
    /// Those of the studio. The event is noted all the same, and what failed is tried again with [`Gate::settle`].
    pub async fn note(&mut self, at: TimeUs, event: Event) -> Result<Effect, S::Error> {
        let effect = self.story.note(at, event);
        self.is_doomed |= effect == Effect::Destroy && self.take.is_some();
        self.settle().await?;
        Ok(effect)
    }

    /// Brings the take to where the story is: destroyed after a no, finished after the end.
    ///
    /// # Errors
    /// Those of the studio.
    pub async fn settle(&mut self) -> Result<(), S::Error> {
        let Some(take) = &mut self.take else { return Ok(()) };
        if self.is_doomed {
            take.destroy(&self.story).await?;
            self.is_doomed = false;
        } else if self.story.is_over() {
            take.finish(&self.story).await?;
        } else {
            return Ok(());
        }
        self.take = None;
        Ok(())
    }

    /// Hands audio in. It is kept if the story says so at this moment, and otherwise goes nowhere. Returns whether it was kept.
    ///
    /// # Errors
    /// Those of the studio.
    pub async fn hear(&mut self, audio: Bytes) -> Result<bool, S::Error> {
        if self.story.basis().is_none() {
            return Ok(false);
        }
        // Who says yes after a no begins anew: nothing is added to what has to go.
        if self.is_doomed {
            self.settle().await?;
        }
        let take = match &mut self.take {
            Some(take) => take,
            // The first frame that may be kept.
            none => none.insert(self.studio.begin(&self.story).await?),
        };
        take.write(audio).await?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use callvault_app::core::consent::{Rule, Standing, Switches};
    use proptest::prelude::*;

    use super::*;

    /// What became of everything that was handed in.
    #[derive(Debug, Default)]
    struct Shelf {
        begun: u32,
        open: Option<Vec<u8>>,
        kept: Vec<Vec<u8>>,
        /// So many of the next calls fail.
        failing: u32,
    }

    #[derive(Clone, Default)]
    struct Tape(Arc<Mutex<Shelf>>);

    impl Tape {
        fn with<T>(&self, work: impl FnOnce(&mut Shelf) -> T) -> Result<T, &'static str> {
            let mut shelf = self.0.lock().expect("a shelf");
            match shelf.failing.checked_sub(1) {
                Some(left) => {
                    shelf.failing = left;
                    Err("full")
                }
                None => Ok(work(&mut shelf)),
            }
        }
    }

    #[async_trait]
    impl Studio for Tape {
        type Take = Self;
        type Error = &'static str;

        async fn begin(&self, story: &Consenting) -> Result<Self, &'static str> {
            assert!(story.basis().is_some(), "a take rests on something");
            self.with(|shelf| {
                assert!(shelf.open.is_none(), "one at a time");
                shelf.begun += 1;
                shelf.open = Some(Vec::new());
            })?;
            Ok(self.clone())
        }
    }

    #[async_trait]
    impl Take for Tape {
        type Error = &'static str;

        async fn write(&mut self, audio: Bytes) -> Result<(), &'static str> {
            self.with(|shelf| shelf.open.as_mut().expect("a take").extend_from_slice(&audio))
        }

        async fn finish(&mut self, _: &Consenting) -> Result<(), &'static str> {
            self.with(|shelf| {
                let whole = shelf.open.take().expect("a take");
                shelf.kept.push(whole);
            })
        }

        async fn destroy(&mut self, _: &Consenting) -> Result<(), &'static str> {
            self.with(|shelf| shelf.open = None)
        }
    }

    fn call(rule: Rule) -> (Gate<Tape>, Tape) {
        let tape = Tape::default();
        let on = Switches {
            call: Some(true),
            ..Switches::default()
        };
        (Gate::new(tape.clone(), Consenting::new(on, rule, 1)), tape)
    }

    fn shelf(tape: &Tape) -> std::sync::MutexGuard<'_, Shelf> {
        tape.0.lock().expect("a shelf")
    }

    #[tokio::test]
    async fn nothing_exists_before_the_yes_and_nothing_after_the_no() {
        let (mut gate, tape) = call(Rule::OptIn);
        assert_eq!(gate.hear("early".into()).await, Ok(false));
        gate.note(TimeUs(0), Event::Announced).await.expect("noted");
        assert_eq!(gate.hear("still".into()).await, Ok(false));
        assert_eq!(shelf(&tape).begun, 0, "no take, not even an empty one");
        gate.note(TimeUs(1), Event::Accepted).await.expect("noted");
        assert_eq!(gate.hear("yes".into()).await, Ok(true));
        gate.note(TimeUs(2), Event::Paused).await.expect("noted");
        assert_eq!(gate.hear("4111".into()).await, Ok(false));
        gate.note(TimeUs(3), Event::Resumed).await.expect("noted");
        assert_eq!(gate.hear(" again".into()).await, Ok(true));
        assert_eq!(shelf(&tape).open.as_deref(), Some(b"yes again".as_slice()));
        assert_eq!(gate.note(TimeUs(4), Event::Withdrawn).await, Ok(Effect::Destroy));
        assert_eq!(gate.hear("late".into()).await, Ok(false));
        gate.note(TimeUs(5), Event::Ended).await.expect("noted");
        let shelf = shelf(&tape);
        assert_eq!((shelf.begun, &shelf.open, shelf.kept.len()), (1, &None, 0));
    }

    #[tokio::test]
    async fn a_call_without_a_frame_leaves_no_take_and_one_after_the_end_tells_that_it_has_to_go() {
        let (mut gate, tape) = call(Rule::Announce);
        gate.note(TimeUs(0), Event::Announced).await.expect("noted");
        gate.note(TimeUs(1), Event::Ended).await.expect("noted");
        assert_eq!(shelf(&tape).begun, 0);
        assert_eq!(gate.note(TimeUs(2), Event::Withdrawn).await, Ok(Effect::Destroy));
    }

    #[tokio::test]
    async fn what_the_studio_fails_to_do_is_done_the_next_time() {
        let (mut gate, tape) = call(Rule::Announce);
        gate.note(TimeUs(0), Event::Announced).await.expect("noted");
        shelf(&tape).failing = 1;
        assert_eq!(gate.hear("a".into()).await, Err("full"), "it could not begin");
        assert_eq!(gate.hear("b".into()).await, Ok(true));
        shelf(&tape).failing = 1;
        assert_eq!(gate.note(TimeUs(1), Event::Declined).await, Err("full"));
        assert!(shelf(&tape).open.is_some(), "it is still there");
        assert_eq!(gate.hear("c".into()).await, Ok(false), "and gets nothing more");
        gate.settle().await.expect("destroyed");
        let shelf = shelf(&tape);
        assert_eq!((&shelf.open, shelf.kept.len()), (&None, 0));
    }

    #[tokio::test]
    async fn a_yes_after_a_no_that_failed_saves_nothing_of_before() {
        let (mut gate, tape) = call(Rule::Announce);
        gate.note(TimeUs(0), Event::Announced).await.expect("noted");
        assert_eq!(gate.hear("before".into()).await, Ok(true));
        shelf(&tape).failing = 1;
        assert_eq!(gate.note(TimeUs(1), Event::Declined).await, Err("full"));
        shelf(&tape).failing = 1;
        assert_eq!(gate.note(TimeUs(2), Event::Accepted).await, Err("full"));
        shelf(&tape).failing = 1;
        assert_eq!(gate.hear("lost".into()).await, Err("full"));
        assert_eq!(gate.hear("after".into()).await, Ok(true));
        gate.note(TimeUs(3), Event::Ended).await.expect("noted");
        assert_eq!(shelf(&tape).kept, [b"after".to_vec()]);
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Announced),
            Just(Event::Accepted),
            Just(Event::Declined),
            Just(Event::Silent),
            Just(Event::Withdrawn),
            Just(Event::Paused),
            Just(Event::Resumed),
            Just(Event::Ended),
        ]
    }

    proptest! {
        /// After every event a frame is handed in, and the studio fails now and then. What is kept in the end is what was said
        /// while it might be kept, since the last no.
        #[test]
        fn only_frames_that_rest_on_consent_are_ever_kept(
            opt_in in any::<bool>(), events in prop::collection::vec((event(), 0..4_u32), 0..20),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(async {
                let rule = if opt_in { Rule::OptIn } else { Rule::Announce };
                let (mut gate, tape) = call(rule);
                let mut expected: Vec<u8> = Vec::new();
                for (n, (event, failing)) in (0_u8..).zip(events) {
                    shelf(&tape).failing = failing.saturating_sub(2);
                    let done = gate.note(TimeUs(i64::from(n)), event).await;
                    shelf(&tape).failing = 0;
                    // What is finished already is the vault's to delete.
                    if done == Ok(Effect::Destroy) {
                        shelf(&tape).kept.clear();
                    }
                    let may = gate.story().basis().is_some();
                    let kept = gate.hear(vec![n].into()).await.expect("kept or not");
                    assert_eq!(kept, may);
                    if kept {
                        expected.push(n);
                    }
                    if matches!(gate.story().standing(), Standing::Declined | Standing::Withdrawn) {
                        expected.clear();
                    }
                }
                gate.settle().await.expect("settled");
                let _ = gate.note(TimeUs(99), Event::Ended).await;
                gate.settle().await.expect("settled");
                let shelf = shelf(&tape);
                assert_eq!(shelf.open, None, "nothing is left open");
                assert_eq!(shelf.kept.concat(), expected);
            });
        }
    }
}
