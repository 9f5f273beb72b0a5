//! The form of a profile: what may stand in the file, with what it means. Each field has a default that is by the book, so
//! that an empty file is the profile `generic`.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::Deserialize;

/// What is special about a kind of target.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Profile of a scim-relay target")]
pub struct Profile {
    /// The shipped name, or the path of the file.
    #[serde(skip)]
    pub name: String,
    /// True if the relay's contract test runs against a likeness of the provider made from this profile, or against the provider
    /// itself where `source` says so. It vouches that relay and profile agree, not that a tenant does as the vendor writes.
    /// `check` warns of one that is not.
    pub verified: bool,
    /// Where the whole comes from, in words.
    pub source: String,
    /// How the path of `target.base_url` ends, `{name}` standing for one segment of any name. `check` compares.
    pub base_path: Option<String>,
    /// Headers.
    pub http: Http,
    /// How ServiceProviderConfig is asked.
    pub discovery: Discovery,
    /// What the target can do, whatever ServiceProviderConfig says.
    pub capabilities: Capabilities,
    /// Bulk requests.
    pub bulk: Bulk,
    /// Most that one request may hold. What counts is the least of configuration, profile and ServiceProviderConfig.
    pub limits: Limits,
    /// How often requests may be sent.
    pub rates: Rates,
    /// Users.
    pub users: Type,
    /// Groups.
    pub groups: Type,
    /// Members of groups.
    pub members: Members,
    /// The form of its answers.
    pub answers: Answers,
    /// Where each figure and each oddity comes from: the key's path, then the source in words.
    pub sources: BTreeMap<String, String>,
}

/// Headers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// `User-Agent`. Absent: `scim-relay/` and the version.
    pub user_agent: Option<String>,
    /// `Content-Type` of what is sent. Absent: `application/scim+json`.
    pub content_type: Option<String>,
    /// `Accept`. Absent: `application/scim+json, application/json`.
    pub accept: Option<String>,
}

/// How ServiceProviderConfig is asked.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Discovery {
    /// False: it is not; one user is listed instead to see whether the target answers.
    pub ask: bool,
    /// Its path below the base URL. The plural name of SCIM 1.1 is tried after it.
    pub path: String,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { ask: true, path: "/ServiceProviderConfig".into() }
    }
}

/// What the target can do, whatever ServiceProviderConfig says. Absent: as it says.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Capabilities {
    /// Bulk requests.
    pub bulk: Option<bool>,
    /// PATCH; without it updates are PUTs.
    pub patch: Option<bool>,
    /// ETags mean something, and are sent along with every update and delete.
    pub etag: Option<bool>,
    /// Filters; without them lookups list everything.
    pub filter: Option<bool>,
}

/// Bulk requests.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bulk {
    /// The path below the base URL.
    pub path: String,
    /// What operations are correlated by.
    pub correlation: CorrelationKey,
    /// How results say their status. The relay reads both.
    pub status: BulkStatus,
    /// Where results say what went wrong. The relay reads both.
    pub errors: BulkErrors,
    /// False: results carry no `version`; the next update is preceded by a read.
    pub versions: bool,
}

impl Default for Bulk {
    fn default() -> Self {
        Self {
            path: "/Bulk".into(),
            correlation: CorrelationKey::BulkId,
            status: BulkStatus::Text,
            errors: BulkErrors::Response,
            versions: true,
        }
    }
}

/// How results of a bulk request say their status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BulkStatus {
    /// As text (RFC 7644 s3.7.3, erratum 7916).
    Text,
    /// As a number.
    Integer,
}

/// Where results of a bulk request say what went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BulkErrors {
    /// In an Error message under `response` (RFC 7644 s3.7.3).
    Response,
    /// In `detail` and `errors`, a list of `detail` and `status`, of the result itself.
    Inline,
}

/// What operations are correlated by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum CorrelationKey {
    /// `bulkId` (RFC 7644 s3.7).
    #[serde(rename = "bulkId")]
    BulkId,
    /// `id` beside `bulkId`, with the same value.
    #[serde(rename = "id")]
    Id,
}

/// Most that one request may hold. Absent: no limit of the target's.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Operations of a bulk request.
    pub operations: Option<NonZeroUsize>,
    /// Bytes of a bulk request's body.
    pub bytes: Option<NonZeroUsize>,
    /// Members that one request changes. Absent: 500.
    pub members_per_request: Option<NonZeroUsize>,
    /// Resources that a page of a listing holds: sent as `count`. Absent: none is sent.
    pub page_size: Option<NonZeroU64>,
    /// Comparisons of a filter, joined with `or`. Absent: 50.
    pub filter_terms: Option<NonZeroUsize>,
    /// Characters of a filter. Absent: as many as fit a URL.
    pub filter_length: Option<NonZeroUsize>,
}

/// How often requests may be sent, for the budget that all replicas share.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rates {
    /// Requests, such as `"10/s"`, `"180/m"` or `"1000/h"`.
    #[schemars(regex(pattern = "^[1-9][0-9]*/[smh]$"))]
    pub requests: Option<String>,
    /// Operations, such as `"200/s"`.
    #[schemars(regex(pattern = "^[1-9][0-9]*/[smh]$"))]
    pub operations: Option<String>,
    /// Requests that may be sent at once after a pause.
    pub burst: Option<NonZeroU32>,
    /// What a bulk request costs.
    pub bulk_costs: BulkCosts,
}

/// What a bulk request costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BulkCosts {
    /// One request.
    #[default]
    One,
    /// One request per operation.
    PerOperation,
}

/// What holds for resources of one type.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Type {
    /// The path below the base URL. Absent: `/Users`, `/Groups`.
    pub path: Option<String>,
    /// False: there is no POST; resources are only matched, and what matches none is a dead letter `not_supported`.
    pub create: bool,
    /// False: there is no DELETE; what would delete is a dead letter `not_supported`.
    pub delete: bool,
    /// The method of updates.
    pub update: Update,
    /// False: there is no PUT, and no way around a PATCH that is refused.
    pub put: bool,
    /// True: DELETE only makes inactive. The name stays taken, so that a POST of it is refused (409), and who comes back is found
    /// as `hidden` says.
    pub soft_delete: bool,
    /// True: a POST that equals an existing resource in any one of `matching` is always refused (409), so that no lookup comes
    /// before the first one. That user names are unique does not suffice: who was renamed would be created a second time.
    pub refuses_existing: bool,
    /// By what a resource is found, the strongest first. Without `externalId` the target's externalId claims nothing.
    /// Absent: `externalId`, then `userName` or `displayName`.
    pub matching: Option<Vec<Attribute>>,
    /// By what the target can filter. Absent: by everything. A lookup that has nothing else to ask for lists everything.
    pub filterable: Option<Vec<Attribute>>,
    /// A filter for what listings and lookups leave out unless it is asked for, such as `active eq false`: asked for too
    /// where nothing else was found, so that who was deleted softly is found and revived instead of created again.
    pub hidden: Option<String>,
}

impl Default for Type {
    fn default() -> Self {
        Self {
            path: None,
            create: true,
            delete: true,
            update: Update::Patch,
            put: true,
            soft_delete: false,
            refuses_existing: false,
            matching: None,
            filterable: None,
            hidden: None,
        }
    }
}

/// The method of updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Update {
    /// PATCH, while the target has it.
    Patch,
    /// PUT of the resource as it was just read, changed.
    Put,
}

/// An attribute by which resources are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Attribute {
    /// The source's key.
    #[serde(rename = "externalId")]
    ExternalId,
    /// The user's name.
    #[serde(rename = "userName")]
    UserName,
    /// The group's name.
    #[serde(rename = "displayName")]
    DisplayName,
    /// An e-mail address: the primary one, or else the first.
    #[serde(rename = "emails.value")]
    Email,
}

/// Members of groups.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Members {
    /// How one is taken out by PATCH.
    pub removal: Removal,
    /// What a user is as a member: it counts for adding, removing and comparing. Groups in groups are always ids.
    pub value: MemberForm,
    /// False: a group that is read does not show its members. With `conflict.members = "authoritative"` the whole list is
    /// written then, if `replace` or `remove_all` allows it; else members that others added stay.
    pub listed: bool,
    /// True: a PATCH may replace all members, and does where `listed` is false, for no more members than fit into a request.
    /// False: it is refused. Absent: the relay sends none.
    pub replace: Option<bool>,
    /// True: a PATCH may remove all members by naming none, and does with `conflict.members = "authoritative"` where the source
    /// lists nobody. False: it is refused. Absent: the relay sends none.
    pub remove_all: Option<bool>,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            removal: Removal::Filter,
            value: MemberForm::Id,
            listed: true,
            replace: None,
            remove_all: None,
        }
    }
}

/// How a member is taken out by PATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Removal {
    /// `members[value eq "x"]` as the path.
    Filter,
    /// `members` as the path, and a list of values.
    Values,
}

/// The form of answers. The relay reads all of these forms; the sandbox, given the profile, answers in this one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Answers {
    /// Errors.
    pub error: ErrorShape,
    /// The answer to an update of another version than there is.
    pub conflict: ConflictShape,
    /// ETags.
    pub etag: EtagForm,
    /// How 429 says how long to wait.
    pub retry_after: RetryAfter,
    /// The answer to a PATCH that succeeded. Absent: either.
    pub patch: Option<PatchAnswer>,
    /// The answer to a listing that asks for more than a page holds.
    pub large_page: LargePage,
}

/// The form of an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorShape {
    /// The Error message of RFC 7644 s3.12.
    #[default]
    Scim,
    /// It, with `schema` beside `schemas`.
    SchemaToo,
    /// `code` and `message`.
    CodeMessage,
}

/// The answer to an update of another version than there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ConflictShape {
    /// 412 (RFC 7644 s3.14).
    #[default]
    #[serde(rename = "412")]
    PreconditionFailed,
    /// 409 (RFC 7644 table 8).
    #[serde(rename = "409")]
    Conflict,
    /// 400 with scimType `invalidVers`.
    #[serde(rename = "invalidVers")]
    InvalidVers,
}

/// The form of ETags, where there are any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EtagForm {
    /// `W/"3"`
    #[default]
    Weak,
    /// `"3"`
    Strong,
    /// `3`
    Unquoted,
}

/// How 429 says how long to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RetryAfter {
    /// `Retry-After` with seconds.
    #[default]
    Seconds,
    /// `Retry-After` with a date.
    Date,
    /// A sentence in the body.
    Body,
    /// Not at all.
    None,
}

/// The answer to a PATCH that succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PatchAnswer {
    /// 200 with the resource.
    Resource,
    /// 204.
    Empty,
}

/// The answer to a listing that asks for more than a page holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LargePage {
    /// As much as a page holds (RFC 7644 s3.4.2.4).
    #[default]
    Cut,
    /// 429.
    Busy,
}

/// What a user is as a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum MemberForm {
    /// Its id.
    #[serde(rename = "id")]
    Id,
    /// Its `userName`. Members are not added in the bulk request that creates them: only ids can be referred to.
    #[serde(rename = "userName")]
    UserName,
}
