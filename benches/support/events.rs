//! Events about users, of the size that real ones have.

use serde_json::{Value, json};

/// The n-th event, about one of so many users, who takes another title with each: about 1 KB.
pub fn put(n: usize, users: usize) -> Value {
    let user = n % users;
    let (given, family) = (format!("Given{user}"), format!("Family{user}"));
    json!({
        "specversion": "1.0",
        "id": format!("0b7c1f6e-5d0e-4f6b-9a53-{n:012}"),
        "source": "/directories/hr",
        "type": "directory.user.put",
        "subject": format!("e-{user}"),
        "time": "2026-01-21T09:30:00.123Z",
        "sequence": format!("{:020}", n + 1),
        "datacontenttype": "application/json",
        "data": {
            "userName": format!("user{user}@example.com"),
            "name": { "givenName": given, "familyName": family, "formatted": format!("{given} {family}") },
            "displayName": format!("{given} {family}"),
            "title": format!("Senior Specialist {n}"),
            "preferredLanguage": "en-GB",
            "timezone": "Europe/Berlin",
            "active": true,
            "emails": [
                { "type": "work", "value": format!("user{user}@example.com"), "primary": true },
                { "type": "home", "value": format!("{given}.{family}@home.example.org") },
            ],
            "phoneNumbers": [
                { "type": "work", "value": format!("+49 30 {user:07}") },
                { "type": "mobile", "value": format!("+49 170 {user:07}") },
            ],
            "addresses": [{
                "type": "work", "streetAddress": format!("{user} Example Street"), "locality": "Berlin",
                "postalCode": "10115", "country": "DE",
            }],
            "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
                "employeeNumber": format!("{user:08}"), "department": "Customer Care", "costCenter": "4711",
                "organization": "Example Ltd",
            },
        },
    })
}
