//! What the sandbox knows about the attributes of its resources (RFC 7643), as tables.
//!
//! The tables drive the canonical spelling of names, the check of types, mutability and the `/Schemas` documents.
//! What is in no table is kept as it came.

mod check;
mod discovery;
mod documents;
mod enterprise;
mod group;
mod user;

pub use check::check;
pub use documents::{resource_types, schemas};

/// The core schema of users.
pub const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
/// The core schema of groups.
pub const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// The enterprise extension of users.
pub const ENTERPRISE_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// A resource type of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `/Users`
    User,
    /// `/Groups`
    Group,
}

impl Kind {
    /// Both, in the order of a query over all types.
    pub const ALL: [Kind; 2] = [Kind::User, Kind::Group];

    /// `meta.resourceType`, and the type of a member.
    pub fn name(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::Group => "Group",
        }
    }

    /// The endpoint without its slash, where no profile says another.
    pub fn endpoint(self) -> &'static str {
        match self {
            Kind::User => "Users",
            Kind::Group => "Groups",
        }
    }

    /// The URN of the core schema.
    pub fn urn(self) -> &'static str {
        match self {
            Kind::User => USER_URN,
            Kind::Group => GROUP_URN,
        }
    }

    /// The core attributes, without the common ones.
    pub fn attributes(self) -> &'static [Attribute] {
        match self {
            Kind::User => user::ATTRIBUTES,
            Kind::Group => group::ATTRIBUTES,
        }
    }

    /// The core attribute of this name in any case, the common ones (RFC 7643 s3.1) included.
    pub fn attribute(self, name: &str) -> Option<&'static Attribute> {
        find(self.attributes(), name).or_else(|| find(COMMON, name))
    }

    /// The attributes of a known extension.
    pub fn extension(self, urn: &str) -> Option<&'static [Attribute]> {
        (self == Kind::User && urn.eq_ignore_ascii_case(ENTERPRISE_URN)).then_some(enterprise::ATTRIBUTES)
    }
}

/// The attribute of this name in any case (RFC 7643 s2.1).
pub fn find(attributes: &'static [Attribute], name: &str) -> Option<&'static Attribute> {
    attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

/// The attributes that every resource has (RFC 7643 s3.1).
static COMMON: &[Attribute] = &[
    Attribute::string("id", "The provider's identifier").exact().always().read_only(),
    Attribute::string("externalId", "The client's identifier").exact(),
    Attribute::complex("meta", "About the resource itself", META).read_only(),
    Attribute::string("schemas", "The schemas of the resource").always().many(),
];

static META: &[Attribute] = &[
    Attribute::string("resourceType", "The resource type").exact().read_only(),
    Attribute::date_time("created", "When it was created").read_only(),
    Attribute::date_time("lastModified", "When it was last changed").read_only(),
    Attribute::string("location", "Its address").exact().read_only(),
    Attribute::string("version", "Its ETag").exact().read_only(),
];

/// The data types of RFC 7643 s2.3 that occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    String,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// An instant.
    DateTime,
    /// A URI.
    Reference,
    /// Base 64.
    Binary,
    /// Sub-attributes.
    Complex,
}

/// RFC 7643 s7, `mutability`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutability {
    /// Clients write it.
    ReadWrite,
    /// The provider's own.
    ReadOnly,
    /// Written once.
    Immutable,
    /// Written and never shown.
    WriteOnly,
}

/// RFC 7643 s7, `returned`, as far as it occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Returned {
    /// Unless the request asks for others.
    Default,
    /// Whatever the request asks for.
    Always,
    /// In no answer.
    Never,
}

/// One attribute with its characteristics (RFC 7643 s2.2).
#[derive(Debug)]
pub struct Attribute {
    /// Its canonical spelling.
    pub name: &'static str,
    /// Its data type.
    pub data_type: Type,
    /// Whether it holds a list.
    pub multi: bool,
    /// Whether a resource must have it.
    pub required: bool,
    /// Whether comparison minds the case.
    pub case_exact: bool,
    /// Who may write it.
    pub mutability: Mutability,
    /// When it is shown.
    pub returned: Returned,
    /// Whether no two resources share a value.
    pub unique: bool,
    /// Suggested values.
    pub canonical: &'static [&'static str],
    /// What a reference refers to.
    pub references: &'static [&'static str],
    /// The attributes of a complex one.
    pub sub: &'static [Attribute],
    /// One line for `/Schemas`.
    pub description: &'static str,
}

impl Attribute {
    const fn new(name: &'static str, data_type: Type, description: &'static str) -> Self {
        Self {
            name,
            data_type,
            multi: false,
            required: false,
            case_exact: false,
            mutability: Mutability::ReadWrite,
            returned: Returned::Default,
            unique: false,
            canonical: &[],
            references: &[],
            sub: &[],
            description,
        }
    }

    const fn string(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Type::String, description)
    }

    const fn boolean(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Type::Boolean, description)
    }

    const fn integer(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Type::Integer, description)
    }

    const fn date_time(name: &'static str, description: &'static str) -> Self {
        Self::new(name, Type::DateTime, description)
    }

    const fn binary(name: &'static str, description: &'static str) -> Self {
        Self { case_exact: true, ..Self::new(name, Type::Binary, description) }
    }

    const fn reference(
        name: &'static str,
        description: &'static str,
        references: &'static [&'static str],
    ) -> Self {
        Self { case_exact: true, references, ..Self::new(name, Type::Reference, description) }
    }

    const fn complex(name: &'static str, description: &'static str, sub: &'static [Attribute]) -> Self {
        Self { sub, ..Self::new(name, Type::Complex, description) }
    }

    const fn many(self) -> Self {
        Self { multi: true, ..self }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn exact(self) -> Self {
        Self { case_exact: true, ..self }
    }

    const fn unique(self) -> Self {
        Self { unique: true, ..self }
    }

    const fn always(self) -> Self {
        Self { returned: Returned::Always, ..self }
    }

    const fn read_only(self) -> Self {
        Self { mutability: Mutability::ReadOnly, ..self }
    }

    const fn immutable(self) -> Self {
        Self { mutability: Mutability::Immutable, ..self }
    }

    const fn write_only(self) -> Self {
        Self { mutability: Mutability::WriteOnly, returned: Returned::Never, ..self }
    }

    const fn suggest(self, canonical: &'static [&'static str]) -> Self {
        Self { canonical, ..self }
    }
}
