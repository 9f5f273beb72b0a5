//! Settling a request: each outcome is classified, what must be published is, and what the record becomes is decided.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::Flush;
use super::batch::Claimed;
use super::commit::{Change, Doubt};
use super::reason::{count, reason, refused_letter};
use crate::core::change::Delta;
use crate::core::disposition::{Disposition, Health, Situation, Trouble, classify, may_come_late};
use crate::core::implied::implied;
use crate::core::letter::Class;
use crate::core::outcome::{Answer, Outcome};
use crate::core::plan::Purpose;
use crate::core::record::Record;
use crate::core::resource::{ResourceType, TargetId};
use crate::core::retry::Next;
use crate::core::schedule::Millis;
use crate::core::settle;
use crate::core::settled::Settled;
use crate::pipeline::letters::{Case, Reason};
use crate::pipeline::ports::{Owner, PublishError, Publisher, Store, StoreError, Target};

impl<S: Store, T: Target, P: Publisher> Flush<S, T, P> {
    /// Settles a request: one outcome per operation.
    pub(super) async fn settle(
        &self,
        request: Vec<Claimed>,
        outcomes: Vec<Outcome>,
        sent_at: Millis,
        in_bulk: bool,
        ids: &BTreeMap<String, TargetId>,
    ) -> Result<(), StoreError> {
        let health = self.take_note(&request, &outcomes, sent_at).await;
        let mut settled = Vec::new();
        for (claim, outcome) in request.into_iter().zip(outcomes) {
            let situation = Situation {
                method: claim.ready.operation.method(),
                in_bulk,
                sent_version: claim.ready.operation.version().is_some(),
                has_references: claim.ready.sent.has_references(),
                members_removed: claim.ready.sent.dropped.len(),
                health,
            };
            let disposition = classify(&situation, &outcome);
            count(&claim.ready.operation, &disposition);
            settled.push((claim, disposition, outcome));
        }
        let changes = settled.into_iter().map(|(claim, disposition, outcome)| async move {
            let change = self.act(&claim, disposition, &outcome, ids).await;
            (claim, change)
        });
        let mut changes = join_all(changes).await;
        self.keep_outcomes(&mut changes).await;
        self.claim_ids(&changes).await?;
        self.commit(changes).await
    }

    /// Counts successes and failures towards the target's health.
    async fn take_note(&self, request: &[Claimed], outcomes: &[Outcome], sent_at: Millis) -> Health {
        let well = |outcome: &Outcome| match outcome {
            Outcome::Answered(answer) => {
                answer.status < 500 && answer.scim_error || (200..300).contains(&answer.status)
            }
            Outcome::Unknown(_) | Outcome::NotSent(_) => false,
        };
        let doubtful = |outcome: &Outcome| match outcome {
            Outcome::Answered(answer) => matches!(answer.status, 408 | 425 | 500..) || !answer.scim_error,
            Outcome::Unknown(_) | Outcome::NotSent(_) => true,
        };
        let any_well = outcomes.iter().any(well);
        let any_doubtful = outcomes.iter().any(|o| !well(o) && doubtful(o));
        {
            let mut learnt = self.learnt();
            for (claim, outcome) in request.iter().zip(outcomes) {
                if !well(outcome) && doubtful(outcome) {
                    learnt.health.failed(&claim.item.key);
                }
            }
        }
        if any_well {
            self.note_success();
        }
        let others = any_well && request.len() > 1;
        let known = self.learnt().health.since(sent_at, others, None);
        if !any_doubtful || known == Health::Up || self.learnt().health.is_down() {
            return known;
        }
        let probe = self.target.discover().await.is_ok();
        self.learnt().health.since(sent_at, others, Some(probe))
    }

    /// Does what must be done before the commit: publishes, pauses. Decides what the record becomes.
    async fn act(
        &self,
        claim: &Claimed,
        disposition: Disposition,
        outcome: &Outcome,
        ids: &BTreeMap<String, TargetId>,
    ) -> Change {
        // its letter was not confirmed: nothing is forgotten, least of all that it may have been applied
        let again = Change::Unknown { late: may_come_late(outcome), wait: Duration::from_secs(1) };
        match disposition {
            Disposition::Exists(_)
            | Disposition::Retry { .. }
            | Disposition::Dead(_)
            | Disposition::MissingMember
                if claim.ready.sent.is_joined() =>
            {
                Change::Apart { doubt: doubt(disposition.must_verify(), outcome) }
            }
            Disposition::Applied | Disposition::NoOp => {
                let answer = match outcome {
                    Outcome::Answered(answer) => answer.clone(),
                    Outcome::Unknown(_) | Outcome::NotSent(_) => Answer::default(),
                };
                Change::Applied { answer, ids: ids.clone() }
            }
            Disposition::Exists(class) if !is_known(&claim.item.record, class) => Change::Exists(class),
            Disposition::Exists(class) => self.fail(claim, class, true, outcome).await.unwrap_or(again),
            Disposition::Conflict if !is_known(&claim.item.record, Class::Conflict) => Change::Conflict,
            Disposition::Conflict => self.fail(claim, Class::Conflict, true, outcome).await.unwrap_or(again),
            Disposition::Gone => Change::Gone,
            Disposition::MissingMember => Change::MissingMember,
            Disposition::Verify => {
                let wait = self.pause_after(outcome);
                Change::Unknown { late: may_come_late(outcome), wait }
            }
            Disposition::Retry { class, verify } => {
                self.fail(claim, class, verify, outcome).await.unwrap_or(again)
            }
            Disposition::Dead(class) => {
                self.die(claim, class, Doubt::Refused, outcome).await.unwrap_or(again)
            }
            Disposition::Busy(after) => {
                Change::Unsent { wait: self.pause_for(after, None, "it asked to wait") }
            }
            Disposition::Wait(after) => Change::Unsent { wait: after.unwrap_or(Duration::from_secs(1)) },
            Disposition::NoPatch => {
                self.learnt().no_patch = true;
                Change::Unsent { wait: Duration::ZERO }
            }
            Disposition::Trouble(Trouble::Deadline) => Change::Unsent { wait: Duration::from_millis(20) },
            Disposition::Trouble(trouble) => {
                let wait = self.pause_for(None, Some(trouble), &outcome.to_string());
                Change::Unsent { wait }
            }
        }
    }

    /// An unknown outcome with the target in doubt pauses it; a missing or unreadable result alone does not.
    fn pause_after(&self, outcome: &Outcome) -> Duration {
        use crate::core::outcome::Unknown;
        match outcome {
            Outcome::Unknown(Unknown::Missing | Unknown::Unreadable) => Duration::ZERO,
            Outcome::Unknown(_) | Outcome::Answered(_) | Outcome::NotSent(_) => {
                self.pause_for(None, Some(Trouble::Down), &outcome.to_string())
            }
        }
    }

    /// One more failure of the resource's own: a rung, or the end.
    async fn fail(
        &self,
        claim: &Claimed,
        class: Class,
        verify: bool,
        outcome: &Outcome,
    ) -> Result<Change, PublishError> {
        let doubt = doubt(verify, outcome);
        let attempt = claim.item.record.attempt() + 1;
        let asked = match outcome {
            Outcome::Answered(answer) => answer.retry_after,
            Outcome::Unknown(_) | Outcome::NotSent(_) => None,
        };
        let Next::Rung { index, wait } = self.settings.ladder.after(attempt, asked) else {
            return self.die(claim, class, doubt, outcome).await;
        };
        let reason = reason(class, outcome, &claim.ready.operation, &self.settings.dialect);
        let ((mut record, intent), at) = (claim.intent(), self.clock.now());
        settle::failed(&mut record, class, reason.status, at);
        let case = claim.case(&record, &intent, &reason);
        self.letters.retry(&case, index).await.inspect_err(refused_letter)?;
        let key = &claim.item.key;
        tracing::info!(resource = %key, attempt, class = %class, wait_s = wait.as_secs(), "on the retry ladder");
        Ok(Change::Rung { class, status: reason.status, doubt, at, wait })
    }

    /// It can't succeed: a dead letter.
    async fn die(
        &self,
        claim: &Claimed,
        class: Class,
        doubt: Doubt,
        outcome: &Outcome,
    ) -> Result<Change, PublishError> {
        let reason = reason(class, outcome, &claim.ready.operation, &self.settings.dialect);
        let (mut record, mut intent) = claim.intent();
        if claim.ready.sent.purpose != Purpose::Members {
            intent.attributes.extend(implied(&claim.item.key, &record));
        }
        settle::failed(&mut record, class, reason.status, self.clock.now());
        self.letters.dead(&claim.case(&record, &intent, &reason)).await.inspect_err(refused_letter)?;
        tracing::warn!(resource = %claim.item.key, class = %class, status = reason.status, "dead-lettered");
        Ok(Change::Buried { intent, doubt })
    }

    /// What was applied is kept in the stream of outcomes before the record says so: where that fails, nobody knows.
    async fn keep_outcomes(&self, changes: &mut [(Claimed, Change)]) {
        let at = self.clock.now();
        let kept = changes.iter_mut().map(|(claim, change)| async move {
            let Change::Applied { answer, .. } = change else { return };
            let path = claim.ready.operation.path(&self.settings.dialect);
            let Claimed { item, ready, .. } = claim;
            let ids = &item.record.event_ids;
            let settled = Settled::new(&ready.operation, &path, &ready.sent, answer.status, ids, at);
            if let Err(error) = self.letters.settled(&settled).await {
                tracing::warn!(%error, resource = %item.key, "an outcome was not kept: the target is read again");
                *change = Change::Unknown { late: false, wait: Duration::from_secs(1) };
            }
        });
        join_all(kept).await;
    }

    /// Newly created resources are ours from now on (D16).
    async fn claim_ids(&self, changes: &[(Claimed, Change)]) -> Result<(), StoreError> {
        let created = changes.iter().filter_map(|(claim, change)| match change {
            Change::Applied { answer, .. } if claim.ready.sent.purpose == Purpose::Create => {
                Some((&claim.item.key, answer.id.as_ref()?))
            }
            _ => None,
        });
        let owned = created.map(|(key, id)| async move { (key, self.store.own(key.kind, id, key).await) });
        for (key, owner) in join_all(owned).await {
            if let Owner::Other(other) = owner? {
                tracing::error!(resource = %key, owner = %other, "the target gave a new resource an id that is taken");
            }
        }
        Ok(())
    }
}

fn doubt(verify: bool, outcome: &Outcome) -> Doubt {
    match (verify, may_come_late(outcome)) {
        (false, _) => Doubt::Refused,
        (true, false) => Doubt::Unknown,
        (true, true) => Doubt::Late,
    }
}

fn is_known(record: &Record, class: Class) -> bool {
    record.trouble.as_ref().is_some_and(|trouble| trouble.class == class)
}

impl Claimed {
    fn case<'a>(&'a self, record: &'a Record, intent: &'a Delta, reason: &'a Reason) -> Case<'a> {
        Case { key: &self.item.key, record, intent, round: settle::round(record, &self.item.entries), reason }
    }

    /// The record as letters show it, and the part of its desired state that this failure concerns.
    fn intent(&self) -> (Record, Delta) {
        let mut record = self.item.record.clone();
        record.claim = None;
        let mut intent = settle::unapplied(&record, &self.item.entries);
        if self.ready.sent.purpose == Purpose::Members {
            intent.attributes.clear();
        } else if self.item.key.kind == ResourceType::Group && self.ready.sent.purpose != Purpose::Create {
            intent.members.clear();
        }
        (record, intent)
    }
}
