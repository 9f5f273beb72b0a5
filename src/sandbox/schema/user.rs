//! The core user schema (RFC 7643 s4.1).

use super::Attribute;

pub(super) static ATTRIBUTES: &[Attribute] = &[
    Attribute::string("userName", "The name to log in with, unique whatever its case").required().unique(),
    Attribute::complex("name", "The parts of the person's name", NAME),
    Attribute::string("displayName", "The name to show"),
    Attribute::string("nickName", "The name among friends"),
    Attribute::reference("profileUrl", "A page about the person", &["external"]),
    Attribute::string("title", "The job title"),
    Attribute::string("userType", "The relation to the organization"),
    Attribute::string("preferredLanguage", "The preferred language, as in Accept-Language"),
    Attribute::string("locale", "How to show numbers and dates"),
    Attribute::string("timezone", "The time zone, by its IANA name"),
    Attribute::boolean("active", "Whether the account may be used"),
    Attribute::string("password", "A new password in clear text; kept nowhere").write_only(),
    Attribute::complex("emails", "E-mail addresses", EMAILS).many(),
    Attribute::complex("phoneNumbers", "Telephone numbers", PHONES).many(),
    Attribute::complex("ims", "Messaging addresses", IMS).many(),
    Attribute::complex("photos", "Pictures", PHOTOS).many(),
    Attribute::complex("addresses", "Postal addresses", ADDRESSES).many(),
    Attribute::complex("groups", "The groups that list the user as member", GROUPS).many().read_only(),
    Attribute::complex("entitlements", "What the person is entitled to", LABELLED).many(),
    Attribute::complex("roles", "The person's roles", LABELLED).many(),
    Attribute::complex("x509Certificates", "Certificates", CERTIFICATES).many(),
];

static NAME: &[Attribute] = &[
    Attribute::string("formatted", "The whole name"),
    Attribute::string("familyName", "The family name"),
    Attribute::string("givenName", "The given name"),
    Attribute::string("middleName", "Names between"),
    Attribute::string("honorificPrefix", "A title before the name"),
    Attribute::string("honorificSuffix", "An addition behind the name"),
];

const DISPLAY: Attribute = Attribute::string("display", "What to show for the value");
const PRIMARY: Attribute = Attribute::boolean("primary", "Whether it is the preferred one; at most one is");
const TYPE: Attribute = Attribute::string("type", "What it is for");

static EMAILS: &[Attribute] =
    &[Attribute::string("value", "The address"), DISPLAY, TYPE.suggest(&["work", "home", "other"]), PRIMARY];

static PHONES: &[Attribute] = &[
    Attribute::string("value", "The number"),
    DISPLAY,
    TYPE.suggest(&["work", "home", "mobile", "fax", "pager", "other"]),
    PRIMARY,
];

static IMS: &[Attribute] = &[Attribute::string("value", "The address"), DISPLAY, TYPE, PRIMARY];

static PHOTOS: &[Attribute] = &[
    Attribute::reference("value", "Where the picture is", &["external"]),
    DISPLAY,
    TYPE.suggest(&["photo", "thumbnail"]),
    PRIMARY,
];

static ADDRESSES: &[Attribute] = &[
    Attribute::string("formatted", "The whole address"),
    Attribute::string("streetAddress", "Street and number"),
    Attribute::string("locality", "City"),
    Attribute::string("region", "State or region"),
    Attribute::string("postalCode", "Postal code"),
    Attribute::string("country", "Country code"),
    TYPE.suggest(&["work", "home", "other"]),
    PRIMARY,
];

static GROUPS: &[Attribute] = &[
    Attribute::string("value", "The group's id").exact().read_only(),
    Attribute::reference("$ref", "The group's address", &["Group"]).read_only(),
    Attribute::string("display", "The group's name").read_only(),
    Attribute::string("type", "How the user belongs to it").suggest(&["direct", "indirect"]).read_only(),
];

static LABELLED: &[Attribute] = &[Attribute::string("value", "The value"), DISPLAY, TYPE, PRIMARY];

static CERTIFICATES: &[Attribute] =
    &[Attribute::binary("value", "The certificate, DER in base 64"), DISPLAY, TYPE, PRIMARY];
