//! A directory as the scenario sees it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// What is compared: people by their externalId, groups by their name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directory {
    pub users: BTreeMap<String, User>,
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

/// Of somebody who is not active nothing more is looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct User {
    pub name: String,
    pub title: Option<String>,
    pub nick_name: Option<String>,
    pub manager: Option<String>,
}

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

impl Directory {
    /// Those who are active, and all groups.
    pub fn of(state: &Value) -> Self {
        let list = |name: &str| state[name].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let external: BTreeMap<String, String> = list("Users")
            .iter()
            .map(|user| {
                let id = text(&user["id"]).unwrap();
                let name = text(&user["externalId"]).unwrap_or_else(|| format!("id {id}"));
                (id, name)
            })
            .collect();
        let named = |id: &Value| text(id).map(|id| external.get(&id).cloned().unwrap_or(id));
        let user = |user: &Value| {
            let shown = User {
                name: text(&user["userName"]).unwrap(),
                title: text(&user["title"]),
                nick_name: text(&user["nickName"]),
                manager: named(&user[ENTERPRISE]["manager"]["value"]),
            };
            (named(&user["id"]).unwrap(), shown)
        };
        let group = |group: &Value| {
            let members = group["members"].as_array().cloned().unwrap_or_default();
            let members = members.iter().filter_map(|member| named(&member["value"])).collect();
            (text(&group["displayName"]).unwrap(), members)
        };
        Self {
            users: list("Users").iter().filter(|it| it["active"] != json!(false)).map(user).collect(),
            groups: list("Groups").iter().map(group).collect(),
        }
    }

    /// What is other than expected, a line each.
    pub fn differences(&self, expected: &Self) -> Vec<String> {
        let users = expected.users.keys().chain(self.users.keys()).collect::<BTreeSet<_>>();
        let users = users.into_iter().filter_map(|id| {
            let (is, ought) = (self.users.get(id), expected.users.get(id));
            (is != ought).then(|| format!("{id}: {is:?}, not {ought:?}"))
        });
        let groups = expected.groups.keys().chain(self.groups.keys()).collect::<BTreeSet<_>>();
        let groups =
            groups.into_iter().filter_map(|name| match (self.groups.get(name), expected.groups.get(name)) {
                (Some(is), Some(ought)) if is == ought => None,
                (Some(is), Some(ought)) => Some(format!(
                    "{name}: too many {:?}, too few {:?}",
                    is.difference(ought).collect::<Vec<_>>(),
                    ought.difference(is).collect::<Vec<_>>()
                )),
                (is, ought) => Some(format!("{name}: there {}, expected {}", is.is_some(), ought.is_some())),
            });
        users.chain(groups).collect()
    }
}
