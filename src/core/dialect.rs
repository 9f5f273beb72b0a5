//! The dialect: what planning has to know about how one target wants to be written to and asked. Plain values; where they
//! come from is the target's profile.

use super::matching::Matcher;
use super::resource::ResourceType;

/// Most members in one request, where the profile says nothing.
pub const MEMBERS_PER_REQUEST: usize = 500;

/// How a target wants to be written to and asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// What holds for users.
    pub users: TypeDialect,
    /// What holds for groups.
    pub groups: TypeDialect,
    /// How a member is taken out of a group.
    pub removal: MemberRemoval,
    /// What a user is on the wire as a member of a group.
    pub member_value: MemberValue,
    /// A group that is read shows its members.
    pub members_listed: bool,
    /// A PATCH may replace the whole list of members.
    pub replace_members: bool,
    /// A PATCH may remove all members at once.
    pub remove_all_members: bool,
    /// Most members in one request.
    pub members_per_request: usize,
    /// What correlates the results of a bulk request.
    pub bulk_key: BulkKey,
}

/// What holds for resources of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeDialect {
    /// The segment below the base URL, without slashes.
    pub segment: String,
    /// POST exists; otherwise resources are only matched.
    pub create: bool,
    /// DELETE exists.
    pub delete: bool,
    /// The method of an update.
    pub update: UpdateBy,
    /// A POST that equals an existing resource in any matcher is always refused: no lookup comes before the first one.
    pub refuses_existing: bool,
    /// By what the target's resource is found, the strongest first.
    pub matching: Vec<Matcher>,
    /// By what the target can filter.
    pub filterable: Vec<Matcher>,
    /// A filter for what listings leave out unless it is asked for.
    pub hidden: Option<String>,
}

/// The method of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateBy {
    /// PATCH, while the target has it.
    Patch,
    /// PUT with an overlay on a fresh GET.
    Put,
}

/// How a member is taken out of a group by PATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberRemoval {
    /// `"path": "members[value eq \"x\"]"`, one operation each (RFC 7644 s3.5.2.2).
    FilterPath,
    /// `"path": "members"` with the values to remove, as Entra sends it.
    ValueList,
}

/// What a user is on the wire as a member of a group. Groups in groups are always ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberValue {
    /// Its id (RFC 7643 s4.2).
    Id,
    /// Its `userName`, in any case.
    UserName,
}

impl MemberValue {
    /// A value as it is compared.
    pub fn spelled(self, value: &str) -> String {
        match self {
            MemberValue::Id => value.to_owned(),
            MemberValue::UserName => value.to_lowercase(),
        }
    }
}

/// What correlates the results of a bulk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkKey {
    /// `bulkId` (RFC 7644 s3.7).
    BulkId,
    /// `id` beside `bulkId`, with the same value. Servers by the book refuse it.
    IdToo,
}

impl TypeDialect {
    /// By the book.
    pub fn standard(kind: ResourceType) -> Self {
        Self {
            segment: kind.segment().to_owned(),
            create: true,
            delete: true,
            update: UpdateBy::Patch,
            refuses_existing: false,
            matching: vec![Matcher::ExternalId, Matcher::name_of(kind)],
            filterable: Matcher::ALL.to_vec(),
            hidden: None,
        }
    }
}

impl Default for Dialect {
    /// By the book: the profile `generic`.
    fn default() -> Self {
        Self {
            users: TypeDialect::standard(ResourceType::User),
            groups: TypeDialect::standard(ResourceType::Group),
            removal: MemberRemoval::FilterPath,
            member_value: MemberValue::Id,
            members_listed: true,
            replace_members: false,
            remove_all_members: false,
            members_per_request: MEMBERS_PER_REQUEST,
            bulk_key: BulkKey::BulkId,
        }
    }
}

/// How all members of a group are written at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WholeList {
    /// One `replace`.
    Replace,
    /// One `remove` that names no value.
    RemoveAll,
}

impl Dialect {
    /// How so many members may be written as the whole list of a group; none: only one by one.
    pub fn whole_list(&self, members: usize) -> Option<WholeList> {
        match members {
            0 if self.remove_all_members => Some(WholeList::RemoveAll),
            _ if self.replace_members && members <= self.members_per_request => Some(WholeList::Replace),
            _ => None,
        }
    }

    /// What holds for this type.
    pub fn of(&self, kind: ResourceType) -> &TypeDialect {
        match kind {
            ResourceType::User => &self.users,
            ResourceType::Group => &self.groups,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_list_is_written_only_where_the_target_allows_it_and_it_fits() {
        let dialect = |replace, remove_all| Dialect {
            replace_members: replace,
            remove_all_members: remove_all,
            members_per_request: 3,
            ..Dialect::default()
        };
        assert_eq!([0, 1].map(|members| Dialect::default().whole_list(members)), [None, None]);
        let (replace, all) = (Some(WholeList::Replace), Some(WholeList::RemoveAll));
        assert_eq!(
            [0, 3, 4].map(|members| dialect(true, false).whole_list(members)),
            [replace, replace, None]
        );
        assert_eq!([0, 1].map(|members| dialect(false, true).whole_list(members)), [all, None]);
        assert_eq!([0, 1].map(|members| dialect(true, true).whole_list(members)), [all, replace]);
    }
}
