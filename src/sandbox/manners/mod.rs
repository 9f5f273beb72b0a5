//! The manners of one provider: what a profile says about it, asked by the rest of the sandbox. Without a profile the
//! sandbox is by the book, and takes what is not: either way of removing a member, an `id` in bulk operations.

mod admit;
mod answers;
mod paths;
mod queries;
#[cfg(test)]
mod tests;

use std::num::NonZero;
use std::sync::Arc;

use super::error::Refusal;
use super::etag::Form;
use super::faults::{Faults, RetryAfterForm};
use super::filter;
use super::limiter::Allowance;
use super::schema::Kind;
use crate::target::profile::{
    BulkStatus, CorrelationKey, EtagForm, PatchAnswer, Profile, ProfileError, RetryAfter, Type,
};

pub use paths::Below;

/// What is special about the provider that the sandbox plays.
#[derive(Clone, Debug, Default)]
pub struct Manners {
    profile: Arc<Profile>,
    /// Whether there is a profile at all.
    given: bool,
}

/// What bulk operations are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkKey {
    /// `bulkId`; an `id` beside it counts for nothing.
    Either,
    /// `bulkId`; an `id` is refused.
    BulkId,
    /// `id`, or else `bulkId`.
    Id,
}

/// Why a profile can't be played.
#[derive(Debug, thiserror::Error)]
pub enum MannersError {
    /// There is none of this name, or it is wrong.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A filter in it is none.
    #[error("the profile's {key} is no filter: {refusal}")]
    Filter {
        /// Where it stands.
        key: &'static str,
        /// Why it is none.
        #[source]
        refusal: Refusal,
    },
}

impl Manners {
    /// Those of a shipped profile, or of a file.
    ///
    /// # Errors
    /// [`MannersError`]
    pub fn of(name: &str) -> Result<Self, MannersError> {
        let profile = Profile::load(name, &|path| std::fs::read_to_string(path))?;
        Self::new(profile)
    }

    /// Those of a profile.
    ///
    /// # Errors
    /// [`MannersError::Filter`]
    pub fn new(profile: Profile) -> Result<Self, MannersError> {
        for (key, kind, said) in
            [("users.hidden", Kind::User, &profile.users), ("groups.hidden", Kind::Group, &profile.groups)]
        {
            if let Some(text) = &said.hidden {
                filter::parse(text, &[kind]).map_err(|refusal| MannersError::Filter { key, refusal })?;
            }
        }
        Ok(Self { profile: Arc::new(profile), given: true })
    }

    fn of_type(&self, kind: Kind) -> &Type {
        match kind {
            Kind::User => &self.profile.users,
            Kind::Group => &self.profile.groups,
        }
    }

    /// The faults as they work here: what the provider has not, no fault brings.
    pub fn effective(&self, asked: &Faults) -> Faults {
        let Profile { capabilities, limits, bulk, answers, .. } = &*self.profile;
        let has = |here: Option<bool>, asked: bool| asked && here.unwrap_or(true);
        let most = |here: Option<NonZero<usize>>, asked: usize| here.map_or(asked, |it| it.get().min(asked));
        let page = limits.page_size.and_then(|it| NonZero::<usize>::try_from(it).ok());
        Faults {
            bulk: has(capabilities.bulk, asked.bulk),
            patch: has(capabilities.patch, asked.patch),
            etag: has(capabilities.etag, asked.etag),
            filter: has(capabilities.filter, asked.filter),
            max_operations: most(limits.operations, asked.max_operations),
            max_payload_bytes: most(limits.bytes, asked.max_payload_bytes),
            page_size: most(page, asked.page_size),
            integer_status: asked.integer_status || bulk.status == BulkStatus::Integer,
            no_version: asked.no_version || !bulk.versions,
            retry_after_form: match (asked.retry_after_form, answers.retry_after) {
                (RetryAfterForm::Seconds, RetryAfter::Seconds) => RetryAfterForm::Seconds,
                (RetryAfterForm::Seconds, RetryAfter::Date) => RetryAfterForm::HttpDate,
                (RetryAfterForm::Seconds, RetryAfter::Body) => RetryAfterForm::Body,
                (RetryAfterForm::Seconds, RetryAfter::None) => RetryAfterForm::None,
                (asked, _) => asked,
            },
            ..asked.clone()
        }
    }

    /// The requests that are let through.
    pub fn requests(&self) -> Option<Allowance> {
        let rates = &self.profile.rates;
        Allowance::of(rates.requests.as_deref()?, rates.burst)
    }

    /// The operations that are let through.
    pub fn operations(&self) -> Option<Allowance> {
        Allowance::of(self.profile.rates.operations.as_deref()?, None)
    }

    /// How many requests one with so many operations counts for.
    pub fn cost(&self, operations: usize) -> usize {
        match self.profile.rates.bulk_costs {
            crate::target::profile::BulkCosts::One => 1,
            crate::target::profile::BulkCosts::PerOperation => operations.max(1),
        }
    }

    /// The form of ETags.
    pub fn etag_form(&self) -> Form {
        match self.profile.answers.etag {
            EtagForm::Weak => Form::Weak,
            EtagForm::Strong => Form::Strong,
            EtagForm::Unquoted => Form::Unquoted,
        }
    }

    /// What bulk operations are told apart by.
    pub fn bulk_key(&self) -> BulkKey {
        match self.profile.bulk.correlation {
            _ if !self.given => BulkKey::Either,
            CorrelationKey::BulkId => BulkKey::BulkId,
            CorrelationKey::Id => BulkKey::Id,
        }
    }

    /// Whether a PATCH is answered with the resource, if the provider always does the same.
    pub fn patch_shows(&self) -> Option<bool> {
        self.profile.answers.patch.map(|answer| answer == PatchAnswer::Resource)
    }

    /// Whether groups are shown with their members.
    pub fn lists_members(&self) -> bool {
        self.profile.members.listed
    }

    /// Whether a DELETE only makes inactive.
    pub fn deletes_softly(&self, kind: Kind) -> bool {
        self.of_type(kind).soft_delete
    }

    /// Whether a second resource of the same name is refused.
    pub fn refuses_namesakes(&self, kind: Kind) -> bool {
        self.of_type(kind).refuses_existing
    }
}
