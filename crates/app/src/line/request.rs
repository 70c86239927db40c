//! Support requests (spec 5.2): opened by one person, answered by another one, and carried out by the vault.
//!
//! An approval is a job before it is anything else, so that one that was given is carried out whatever happens to the
//! process. Its steps may be repeated: the request remembers which key is to go, and so finds the deletion's log entry
//! though the process that made it never came to write it down.

use callvault_core::{
    Cause, DocumentKind, KeyId, Reader, Refusal, Sid, TimeUs,
    request::{Answer, Asked, Request, State, decide_answer, decide_end},
};
use callvault_store::rows::JobRow;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{LEASE_S, Line, REQUEST, open};
use crate::{
    document::{Document, DocumentQuery, NewDocument},
    error::{Result, VaultError},
    vault::Account,
};

/// Attempts at a request that others keep changing.
const ATTEMPTS: u32 = 8;
/// Requests asked for at once.
const PAGE: u32 = 200;

/// Who does something to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// What tells this person from another.
    pub id: String,
    /// The role in which they act.
    pub role: String,
}

/// Something that was done to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: TimeUs,
    /// By whom.
    pub by: Person,
    /// The state that it led to.
    pub state: String,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A request as its document has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Body {
    request: Request,
    asked: Asked,
    reason: String,
    /// The data key that goes with the recording, once it is approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    steps: Vec<Step>,
}

/// A request as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestView {
    /// Identifier.
    pub id: Sid,
    /// What is asked for.
    pub asked: Asked,
    /// Why.
    pub reason: String,
    /// Where it stands now.
    pub state: State,
    /// When it was opened.
    pub opened_at: TimeUs,
    /// When it is over if nobody answers.
    pub expires_at: TimeUs,
    /// What was done to it, oldest first; the first opened it.
    pub steps: Vec<Step>,
}

/// An approval that is to be carried out.
#[derive(Serialize, Deserialize)]
struct Approval {
    request: Sid,
    at: TimeUs,
    by: Person,
    note: Option<String>,
}

impl Body {
    const fn recording(&self) -> Sid {
        match self.asked {
            Asked::DeleteRecording { recording } => recording,
        }
    }

    /// The same request after a step.
    fn stepped(&self, state: State, at: TimeUs, by: &Person, note: Option<&str>) -> Self {
        let mut next = self.clone();
        next.request.state = state;
        next.steps.push(Step {
            at,
            by: by.clone(),
            state: state.as_str().to_owned(),
            note: note.map(ToOwned::to_owned),
        });
        next
    }
}

impl Line {
    fn view(&self, document: &Document<Body>) -> RequestView {
        let Body {
            request,
            asked,
            reason,
            steps,
            ..
        } = &document.body;
        RequestView {
            id: document.id,
            asked: asked.clone(),
            reason: reason.clone(),
            state: request.state_at(self.vault.now()),
            opened_at: request.opened_at,
            expires_at: request.expires_at(),
            steps: steps.clone(),
        }
    }

    /// Opens a request. Nothing is deleted by it.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when what it asks for may not be done, or an open request asks for it already;
    /// [`VaultError::NotFound`] when there is no such recording.
    pub async fn open_request(
        &self,
        account: &Account,
        asked: Asked,
        reason: String,
        person: Person,
    ) -> Result<RequestView> {
        let Asked::DeleteRecording { recording } = asked;
        self.vault
            .check_recording_deletion(&account.sid, recording, Cause::Request)
            .await?;
        let name = account.keys.blind.hash("request", &recording.to_string());
        let at = self.vault.now();
        let request = Request::open(&person.id, at);
        let body = Body {
            request,
            asked,
            reason,
            key: None,
            steps: vec![Step {
                at,
                by: person,
                state: State::Open.as_str().to_owned(),
                note: None,
            }],
        };
        let id = Account::fresh_sid(at)?;
        let new = [NewDocument {
            id,
            at,
            name: Some(name),
            body,
        }];
        for _ in 0..2 {
            let added = self
                .vault
                .insert_documents(account, DocumentKind::Request, &new, None)
                .await?;
            if added.contains(&true) {
                let document = self.get_request_document(account, id).await?;
                self.tell_of_request(account, &document, "request.opened").await?;
                return Ok(self.view(&document));
            }
            self.clear_name(account, name).await?;
        }
        Err(open_already(None))
    }

    /// Lets go of a name whose request is over. One that is not over keeps it.
    async fn clear_name(&self, account: &Account, name: [u8; 16]) -> Result<()> {
        let known = self
            .vault
            .find_named::<Body>(account, DocumentKind::Request, name, Reader::Compliance)
            .await?;
        let Some(known) = known else { return Ok(()) };
        let state = known.body.request.state_at(self.vault.now());
        if !state.is_over() {
            return Err(open_already(Some(known.id)));
        }
        let mut body = known.body.clone();
        body.request.state = state;
        self.vault.replace_document(&known, None, body).await?;
        Ok(())
    }

    async fn get_request_document(&self, account: &Account, id: Sid) -> Result<Document<Body>> {
        // What a person decides on is shown to whoever may decide, whatever their role reads.
        let found = self
            .vault
            .find_document(account, DocumentKind::Request, id, Reader::Account)
            .await?;
        found.ok_or(VaultError::NotFound { what: "request" })
    }

    /// One request.
    ///
    /// # Errors
    /// [`VaultError::NotFound`].
    pub async fn get_request(&self, account: &Account, id: Sid) -> Result<RequestView> {
        Ok(self.view(&self.get_request_document(account, id).await?))
    }

    /// An account's requests, newest first; those in this state, if one is named. The second part says where to go on.
    ///
    /// # Errors
    /// Those of the stores.
    pub async fn list_requests(
        &self,
        account: &Account,
        state: Option<&str>,
        after: Option<(TimeUs, Sid)>,
        limit: usize,
    ) -> Result<(Vec<RequestView>, Option<(TimeUs, Sid)>)> {
        let mut found: Vec<RequestView> = Vec::new();
        let mut query = DocumentQuery {
            newest_first: true,
            after,
            limit: PAGE,
            ..DocumentQuery::default()
        };
        loop {
            let page: Vec<Document<Body>> = self
                .vault
                .page_documents(account, DocumentKind::Request, &mut query, Reader::Account)
                .await?;
            for document in &page {
                let view = self.view(document);
                if state.is_some_and(|state| state != view.state.as_str()) {
                    continue;
                }
                if found.len() == limit {
                    let last = found.last().map(|last| (last.opened_at, last.id));
                    return Ok((found, last));
                }
                found.push(view);
            }
            if query.after.is_none() {
                return Ok((found, None));
            }
        }
    }

    /// Answers a request. One that is approved is carried out when this returns, unless another process is at it.
    ///
    /// # Errors
    /// [`VaultError::Refused`] when this person may not answer so, the request is over, or what it asks for may not be
    /// done (any more); [`VaultError::NotFound`]; nothing is changed then.
    pub async fn answer_request(
        &self,
        account: &Account,
        id: Sid,
        answer: Answer,
        person: Person,
        note: Option<String>,
    ) -> Result<RequestView> {
        let now = self.vault.now();
        let document = self.get_request_document(account, id).await?;
        let state = decide_answer(&document.body.request, answer, &person.id, now).into_result()?;
        if answer != Answer::Approve {
            let body = document.body.stepped(state, now, &person, note.as_deref());
            self.replace_request(account, &document, body, None).await?;
            return self.get_request(account, id).await;
        }
        let recording = document.body.recording();
        self.vault
            .check_recording_deletion(&account.sid, recording, Cause::Request)
            .await?;
        let approval = Approval {
            request: id,
            at: now,
            by: person,
            note,
        };
        // The same approval sent twice is one job; one after a refusal is another.
        let job_id = format!("request:{id}:{}", document.updated_at.0);
        self.enqueue(account, REQUEST, &job_id, now, &approval).await?;
        let until = now.plus_seconds(LEASE_S);
        let worker = &self.vault.worker;
        if let Some(job) = self.vault.catalog.lease_job(&job_id, worker, now, until).await? {
            let done = self.carry_out(account, &approval).await;
            if matches!(done, Ok(()) | Err(VaultError::Refused(_) | VaultError::NotFound { .. })) {
                self.finish(job).await?;
            }
            done?;
        }
        self.get_request(account, id).await
    }

    /// Carries out an approval whose process did not come to it.
    pub(super) async fn run_request(&self, account: &Account, job: JobRow) -> Result<()> {
        let approval: Approval = open(account, &job.id, &job.body)?;
        match self.carry_out(account, &approval).await {
            // The request is open again, or gone: there is nothing to be tried again.
            Ok(()) | Err(VaultError::Refused(_) | VaultError::NotFound { .. }) => self.finish(job).await,
            Err(error) => Err(error),
        }
    }

    async fn carry_out(&self, account: &Account, approval: &Approval) -> Result<()> {
        for _ in 0..ATTEMPTS {
            match self.try_carry_out(account, approval).await {
                Err(error) if error.is_conflict() => {}
                done => return done,
            }
        }
        Err(callvault_store::StoreError::Conflict { what: "request" }.into())
    }

    async fn try_carry_out(&self, account: &Account, approval: &Approval) -> Result<()> {
        let mut document = self.get_request_document(account, approval.request).await?;
        let recording = document.body.recording();
        if document.body.request.state == State::Open {
            let request = &document.body.request;
            let state = decide_answer(request, Answer::Approve, &approval.by.id, approval.at).into_result()?;
            let row = self.vault.catalog.find_recording(&account.sid, recording).await?;
            let row = row.ok_or(VaultError::NotFound { what: "recording" })?;
            let note = approval.note.as_deref();
            let mut body = document.body.stepped(state, approval.at, &approval.by, note);
            body.key = Some(row.key);
            document = self.replace_request(account, &document, body, None).await?;
        }
        if document.body.request.state.is_over() {
            // Whoever ended it may not have come to tell; what is told twice is delivered once.
            return self.tell_of_request(account, &document, "request.ended").await;
        }
        let (State::Approved, Some(key)) = (document.body.request.state, document.body.key) else {
            return Ok(());
        };
        let done = self
            .vault
            .delete_recordings(&account.sid, &[recording], Cause::Request)
            .await;
        let (log_index, refused) = match done {
            Ok(leaves) => (leaves.first().copied(), None),
            Err(VaultError::Refused(refusal)) => (None, Some(refusal)),
            // It went before: in an earlier attempt at this, or by itself.
            Err(VaultError::NotFound { .. }) => {
                let gone = VaultError::NotFound { what: "recording" };
                let found = self.vault.find_deletion_of(&account.sid, key, approval.at).await?;
                (Some(found.ok_or(gone)?), None)
            }
            Err(error) => return Err(error),
        };
        let state = decide_end(&document.body.request, log_index).into_result()?;
        let now = self.vault.now();
        let note = refused.as_ref().map(|refusal: &Refusal| refusal.reason.as_str());
        let body = document.body.stepped(state, now, &approval.by, note);
        let name = account.keys.blind.hash("request", &recording.to_string());
        let name = (!state.is_over()).then_some(name);
        self.replace_request(account, &document, body, name).await?;
        // The deletion stands even if the log cannot be published now; the next tick does it.
        let _ = self.vault.publish().await;
        refused.map_or(Ok(()), |refusal| Err(refusal.into()))
    }

    /// Stores a request's next state and tells who wants to know of its end.
    async fn replace_request(
        &self,
        account: &Account,
        document: &Document<Body>,
        body: Body,
        name: Option<[u8; 16]>,
    ) -> Result<Document<Body>> {
        let name = match body.request.state {
            // It goes on: nobody else asks for the same meanwhile.
            State::Approved => Some(account.keys.blind.hash("request", &body.recording().to_string())),
            _ => name,
        };
        let replaced = self.vault.replace_document(document, name, body).await?;
        let replaced = replaced.ok_or_else(|| open_already(None))?;
        if replaced.body.request.state.is_over() {
            self.tell_of_request(account, &replaced, "request.ended").await?;
        }
        Ok(replaced)
    }

    async fn tell_of_request(&self, account: &Account, document: &Document<Body>, event: &str) -> Result<()> {
        let Body { request, asked, .. } = &document.body;
        let mut data = json!({
            "id": document.id.to_string(), "kind": asked.kind(), "state": request.state.as_str(),
            "recording": document.body.recording().to_string(),
        });
        if let State::Done { log_index } = request.state {
            data["log_index"] = log_index.into();
        }
        let id = format!("{event}:{}", document.id);
        self.emit(account, event, &id, self.vault.now(), data).await
    }
}

fn open_already(id: Option<Sid>) -> VaultError {
    let reason = match id {
        Some(id) => format!("Request {id} asks for the same and is open."),
        None => "Another request asks for the same and is open.".to_owned(),
    };
    Refusal::new("request-open", reason).into()
}
