//! The enterprise extension of users (RFC 7643 s4.3).

use super::Attribute;

pub(super) static ATTRIBUTES: &[Attribute] = &[
    Attribute::string("employeeNumber", "The number of the employee"),
    Attribute::string("costCenter", "The cost center"),
    Attribute::string("organization", "The organization"),
    Attribute::string("division", "The division"),
    Attribute::string("department", "The department"),
    Attribute::complex("manager", "The user's manager", MANAGER),
];

static MANAGER: &[Attribute] = &[
    Attribute::string("value", "The manager's id").exact(),
    Attribute::reference("$ref", "The manager's address", &["User"]),
    Attribute::string("displayName", "The manager's name").read_only(),
];
