//! The schemas of the discovery documents themselves (RFC 7643 s5 to s7).

use super::Attribute;

pub(super) static SERVICE_PROVIDER_CONFIG: &[Attribute] = &[
    Attribute::reference("documentationUri", "Where the provider is described", &["external"]).read_only(),
    Attribute::complex("patch", "PATCH", SUPPORTED).required().read_only(),
    Attribute::complex("bulk", "Bulk requests", BULK).required().read_only(),
    Attribute::complex("filter", "Filters", FILTER).required().read_only(),
    Attribute::complex("changePassword", "Changing passwords", SUPPORTED).required().read_only(),
    Attribute::complex("sort", "Sorting", SUPPORTED).required().read_only(),
    Attribute::complex("etag", "ETags", SUPPORTED).required().read_only(),
    Attribute::complex("authenticationSchemes", "How clients authenticate", SCHEMES)
        .many()
        .required()
        .read_only(),
];

const IS_SUPPORTED: Attribute =
    Attribute::boolean("supported", "Whether the provider supports it").required().read_only();

static SUPPORTED: &[Attribute] = &[IS_SUPPORTED];

static BULK: &[Attribute] = &[
    IS_SUPPORTED,
    Attribute::integer("maxOperations", "The most operations of a request").required().read_only(),
    Attribute::integer("maxPayloadSize", "The most bytes of a request").required().read_only(),
];

static FILTER: &[Attribute] = &[
    IS_SUPPORTED,
    Attribute::integer("maxResults", "The most resources of an answer").required().read_only(),
];

static SCHEMES: &[Attribute] = &[
    Attribute::string("type", "The kind of scheme")
        .suggest(&["oauth", "oauth2", "oauthbearertoken", "httpbasic", "httpdigest"])
        .required()
        .read_only(),
    Attribute::string("name", "Its name").required().read_only(),
    Attribute::string("description", "What it is").required().read_only(),
    Attribute::reference("specUri", "Its specification", &["external"]).read_only(),
    Attribute::reference("documentationUri", "Its documentation", &["external"]).read_only(),
    Attribute::boolean("primary", "Whether it is the preferred one").read_only(),
];

pub(super) static RESOURCE_TYPE: &[Attribute] = &[
    Attribute::string("id", "The identifier").read_only(),
    Attribute::string("name", "The name").required().read_only(),
    Attribute::string("description", "What it is").read_only(),
    Attribute::reference("endpoint", "Its address below the base", &["uri"]).required().read_only(),
    Attribute::reference("schema", "Its core schema", &["uri"]).required().read_only(),
    Attribute::complex("schemaExtensions", "Its extensions", EXTENSIONS).many().read_only(),
];

static EXTENSIONS: &[Attribute] = &[
    Attribute::reference("schema", "The extension's schema", &["uri"]).required().read_only(),
    Attribute::boolean("required", "Whether resources must have it").required().read_only(),
];

pub(super) static SCHEMA: &[Attribute] = &[
    Attribute::string("id", "The URN of the schema").required().read_only(),
    Attribute::string("name", "The name").read_only(),
    Attribute::string("description", "What it describes").read_only(),
    Attribute::complex("attributes", "Its attributes", ATTRIBUTE).many().required().read_only(),
];

const NAME: Attribute = Attribute::string("name", "The name").required().exact().read_only();
const TYPE: Attribute = Attribute::string("type", "The data type")
    .suggest(&["string", "complex", "boolean", "decimal", "integer", "dateTime", "reference", "binary"])
    .required()
    .read_only();
const MULTI: Attribute = Attribute::boolean("multiValued", "Whether it holds a list").required().read_only();
const DESCRIPTION: Attribute = Attribute::string("description", "What it is").read_only();
const REQUIRED: Attribute = Attribute::boolean("required", "Whether it must be there").read_only();
const CANONICAL: Attribute = Attribute::string("canonicalValues", "Suggested values").many().read_only();
const CASE_EXACT: Attribute = Attribute::boolean("caseExact", "Whether case matters").read_only();
const MUTABILITY: Attribute = Attribute::string("mutability", "Who may write it")
    .suggest(&["readOnly", "readWrite", "immutable", "writeOnly"])
    .exact()
    .read_only();
const RETURNED: Attribute = Attribute::string("returned", "When it is shown")
    .suggest(&["always", "never", "default", "request"])
    .exact()
    .read_only();
const UNIQUENESS: Attribute = Attribute::string("uniqueness", "Within what a value is unique")
    .suggest(&["none", "server", "global"])
    .exact()
    .read_only();
const REFERENCES: Attribute =
    Attribute::string("referenceTypes", "What it refers to").many().exact().read_only();

static ATTRIBUTE: &[Attribute] = &[
    NAME,
    TYPE,
    MULTI,
    DESCRIPTION,
    REQUIRED,
    CANONICAL,
    CASE_EXACT,
    MUTABILITY,
    RETURNED,
    UNIQUENESS,
    REFERENCES,
    Attribute::complex("subAttributes", "The attributes of a complex one", SUB_ATTRIBUTE).many().read_only(),
];

static SUB_ATTRIBUTE: &[Attribute] = &[
    NAME,
    TYPE,
    MULTI,
    DESCRIPTION,
    REQUIRED,
    CANONICAL,
    CASE_EXACT,
    MUTABILITY,
    RETURNED,
    UNIQUENESS,
    REFERENCES,
];
