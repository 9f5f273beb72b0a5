//! What can be asked for, and what is only shown if it is.

use std::collections::BTreeSet;
use std::num::NonZero;

use scim_v2::filter::{AttrExp, AttrPath, Filter};

use super::Manners;
use crate::sandbox::error::{Refusal, ScimType};
use crate::sandbox::filter;
use crate::sandbox::schema::Kind;
use crate::target::profile::{Attribute, LargePage};

impl Manners {
    /// Whether a filter is one that the provider can take.
    ///
    /// # Errors
    /// 400 `invalidFilter`.
    pub fn check_filter(&self, text: &str, filter: &Filter, kinds: &[Kind]) -> Result<(), Refusal> {
        let limits = &self.profile.limits;
        let refused = |why: String| Err(Refusal::of(ScimType::InvalidFilter, why));
        let most = limits.filter_terms.map_or(usize::MAX, NonZero::get);
        if alternatives(filter) > most {
            return refused(format!("more than {most} comparisons are joined with `or`"));
        }
        if limits.filter_length.is_some_and(|most| text.chars().count() > most.get()) {
            return refused("the filter is too long".to_owned());
        }
        for kind in kinds {
            let Some(allowed) = self.filterable(*kind) else { continue };
            if let Some(other) = attributes(filter).into_iter().find(|name| !allowed.contains(name)) {
                return refused(format!("{other} can't be filtered by"));
            }
        }
        Ok(())
    }

    /// What can be filtered by, in lower case; none: everything.
    fn filterable(&self, kind: Kind) -> Option<BTreeSet<String>> {
        let said = self.of_type(kind).filterable.as_ref()?;
        let named = said.iter().map(|attribute| match attribute {
            Attribute::ExternalId => "externalid",
            Attribute::UserName => "username",
            Attribute::DisplayName => "displayname",
            Attribute::Email => "emails",
        });
        let hidden = self.hidden(kind).map(|filter| attributes(&filter)).unwrap_or_default();
        Some(named.map(str::to_owned).chain(hidden).collect())
    }

    /// What a query leaves out that does not speak of it.
    pub fn unasked(&self, kind: Kind, asked: Option<&Filter>) -> Option<Filter> {
        let hidden = self.hidden(kind)?;
        let spoken_of = asked.map(attributes).unwrap_or_default();
        attributes(&hidden).is_disjoint(&spoken_of).then_some(hidden)
    }

    fn hidden(&self, kind: Kind) -> Option<Filter> {
        let text = self.of_type(kind).hidden.as_ref()?;
        // it was read when the profile was
        filter::parse(text, &[kind]).ok()
    }

    /// Whether a page may be asked to hold so many.
    ///
    /// # Errors
    /// 429.
    pub fn check_page(&self, count: Option<usize>) -> Result<(), Refusal> {
        let most = self.profile.limits.page_size.map_or(u64::MAX, NonZero::get);
        match self.profile.answers.large_page {
            LargePage::Busy if count.is_some_and(|count| count as u64 > most) => {
                Err(Refusal::new(429, format!("a page holds {most}")))
            }
            LargePage::Busy | LargePage::Cut => Ok(()),
        }
    }
}

/// The most comparisons that stand below one `or`.
fn alternatives(filter: &Filter) -> usize {
    match filter {
        Filter::Attr(_) | Filter::ValuePath(_) => 0,
        Filter::Not(inner) => alternatives(inner),
        Filter::And(parts) => parts.iter().map(alternatives).max().unwrap_or(0),
        Filter::Or(parts) => parts.iter().map(comparisons).sum(),
    }
}

fn comparisons(filter: &Filter) -> usize {
    match filter {
        Filter::Attr(_) | Filter::ValuePath(_) => 1,
        Filter::Not(inner) => comparisons(inner),
        Filter::And(parts) | Filter::Or(parts) => parts.iter().map(comparisons).sum(),
    }
}

/// The attributes that a filter names, in lower case.
fn attributes(filter: &Filter) -> BTreeSet<String> {
    let name = |path: &AttrPath| BTreeSet::from([path.name.to_lowercase()]);
    match filter {
        Filter::Attr(AttrExp::Present(path) | AttrExp::Comparison(path, _, _)) => name(path),
        Filter::ValuePath(path) => name(&path.attr),
        Filter::Not(inner) => attributes(inner),
        Filter::And(parts) | Filter::Or(parts) => parts.iter().flat_map(attributes).collect(),
    }
}
