//! The core group schema (RFC 7643 s4.2).

use super::Attribute;

pub(super) static ATTRIBUTES: &[Attribute] = &[
    Attribute::string("displayName", "The name of the group").required(),
    Attribute::complex("members", "The users and groups in the group", MEMBERS).many(),
];

static MEMBERS: &[Attribute] = &[
    Attribute::string("value", "The member's id").exact().immutable(),
    Attribute::reference("$ref", "The member's address", &["User", "Group"]).immutable(),
    Attribute::string("type", "What the member is").suggest(&["User", "Group"]).immutable(),
];
