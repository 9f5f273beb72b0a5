//! A person as the directory knows them.

use serde_json::{Map, Value, json};

use super::ExpectedUser;

pub(super) const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// Where a person stands at the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Active,
    Inactive,
    Deleted,
}

#[derive(Clone, Debug)]
pub(super) struct Person {
    pub id: String,
    pub number: String,
    pub user_name: String,
    pub given: &'static str,
    pub family: &'static str,
    pub title: Option<&'static str>,
    pub department: &'static str,
    pub work_phone: Option<String>,
    pub mobile: Option<String>,
    pub manager: Option<String>,
    pub standing: Standing,
}

impl Person {
    pub fn display_name(&self) -> String {
        format!("{} {}", self.given, self.family)
    }

    /// All SCIM attributes, `active` included.
    pub fn attributes(&self) -> Value {
        let mut person = json!({
            "userName": self.user_name,
            "name": { "givenName": self.given, "familyName": self.family },
            "displayName": self.display_name(),
            "emails": [{ "type": "work", "value": self.user_name, "primary": true }],
            "active": self.standing == Standing::Active,
            ENTERPRISE: { "employeeNumber": self.number, "department": self.department },
        });
        if let Some(title) = self.title {
            person["title"] = json!(title);
        }
        let phones = self.phones();
        if !phones.is_empty() {
            person["phoneNumbers"] = Value::Array(phones);
        }
        if let Some(manager) = &self.manager {
            person[ENTERPRISE]["manager"] = json!({ "value": manager });
        }
        person
    }

    /// As [`attributes`](Self::attributes), without `active`: a `put` that says nothing about it.
    pub fn attributes_without_active(&self) -> Value {
        let Value::Object(mut attributes) = self.attributes() else { return Value::Object(Map::new()) };
        attributes.remove("active");
        Value::Object(attributes)
    }

    pub fn phones(&self) -> Vec<Value> {
        let numbers = [("work", &self.work_phone), ("mobile", &self.mobile)];
        let known = numbers.into_iter().filter_map(|(kind, number)| Some((kind, number.as_ref()?)));
        known.map(|(kind, number)| json!({ "type": kind, "value": number })).collect()
    }

    pub fn expected(&self) -> ExpectedUser {
        match self.standing {
            Standing::Deleted => ExpectedUser::Gone,
            Standing::Active | Standing::Inactive => ExpectedUser::Present(self.attributes()),
        }
    }
}
