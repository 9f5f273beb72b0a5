//! Bulk requests (RFC 7644 s3.7).

mod references;
mod report;
mod run;

use serde_json::{Map, Value};

pub use report::Report;
pub use run::run;

use super::error::{Refusal, ScimType};
use super::faults::Faults;
use super::manners::{BulkKey, Manners};
use super::path::remove;
use super::schema::Kind;

/// The schema of a BulkRequest message.
pub const REQUEST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";
const RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkResponse";

/// A BulkRequest message.
#[derive(Debug)]
pub struct BulkRequest {
    /// How many errors end the request; none: no number of them.
    fail_on_errors: Option<usize>,
    operations: Vec<Item>,
}

/// One operation as it was sent; what is wrong with it is its own matter.
#[derive(Clone, Debug)]
struct Item {
    method: String,
    bulk_id: Option<String>,
    path: String,
    version: Option<String>,
    data: Option<Value>,
}

impl Item {
    /// The resource type and the resource of the path.
    ///
    /// # Errors
    /// 404; `invalidSyntax` without a path.
    fn target(&self, manners: &Manners) -> Result<(Kind, Option<&str>), Refusal> {
        if self.path.is_empty() || self.method.is_empty() {
            return Err(syntax("an operation of a bulk request needs a method and a path"));
        }
        let path = self.path.strip_prefix('/').unwrap_or(&self.path);
        let (kind, rest) = manners.kind_of(path).ok_or_else(|| Refusal::not_found(&self.path))?;
        Ok((kind, rest.strip_prefix('/').filter(|id| !id.is_empty())))
    }
}

/// How many operations a body carries, whether or not it is in order.
pub fn operations_of(body: &Value) -> usize {
    let list = body.as_object().and_then(|it| super::path::get(it, "Operations")).and_then(Value::as_array);
    list.map_or(0, Vec::len)
}

/// Whether a bulk request of so many bytes is looked at.
///
/// # Errors
/// 501 where Bulk is off; 413, naming the limit that is exceeded (RFC 7644 s3.7.4).
pub fn admit(bytes: usize, faults: &Faults) -> Result<(), Refusal> {
    if !faults.bulk {
        return Err(Refusal::new(501, "Bulk is not supported"));
    }
    if bytes > faults.max_payload_bytes {
        let limit = faults.max_payload_bytes;
        return Err(Refusal::new(413, format!("{bytes} bytes exceed maxPayloadSize ({limit})")));
    }
    Ok(())
}

/// Reads a bulk request.
///
/// # Errors
/// 413, naming the limit that is exceeded (RFC 7644 s3.7.4); `invalidSyntax`.
pub fn read(body: Value, faults: &Faults, key: BulkKey) -> Result<BulkRequest, Refusal> {
    let request = parse(body, key)?;
    let (sent, limit) = (request.operations.len(), faults.max_operations);
    if sent > limit {
        return Err(Refusal::new(413, format!("{sent} operations exceed maxOperations ({limit})")));
    }
    Ok(request)
}

fn parse(body: Value, key: BulkKey) -> Result<BulkRequest, Refusal> {
    let Value::Object(mut message) = body else {
        return Err(syntax("a bulk request is an object"));
    };
    check_schemas(remove(&mut message, "schemas"))?;
    let fail_on_errors = match remove(&mut message, "failOnErrors") {
        None | Some(Value::Null) => None,
        Some(value) => Some(positive(&value)?),
    };
    match remove(&mut message, "Operations") {
        Some(Value::Array(operations)) if !operations.is_empty() => {
            let operations = operations.into_iter().map(|it| item(it, key)).collect::<Result<_, _>>()?;
            Ok(BulkRequest { fail_on_errors, operations })
        }
        _ => Err(syntax("a bulk request needs a list of Operations with at least one")),
    }
}

fn check_schemas(schemas: Option<Value>) -> Result<(), Refusal> {
    let Some(schemas) = schemas else { return Ok(()) };
    let mut urns = schemas.as_array().into_iter().flatten().filter_map(Value::as_str);
    match urns.any(|urn| urn.eq_ignore_ascii_case(REQUEST_URN)) {
        true => Ok(()),
        false => Err(syntax(&format!("schemas must name {REQUEST_URN}"))),
    }
}

fn positive(value: &Value) -> Result<usize, Refusal> {
    let number = value.as_u64().filter(|it| *it > 0).and_then(|it| usize::try_from(it).ok());
    number.ok_or_else(|| Refusal::of(ScimType::InvalidValue, "failOnErrors must be a number above 0"))
}

fn item(operation: Value, key: BulkKey) -> Result<Item, Refusal> {
    let Value::Object(mut operation) = operation else {
        return Err(syntax("an operation of a bulk request is an object"));
    };
    let (bulk_id, id) = (text(&mut operation, "bulkId")?, text(&mut operation, "id")?);
    if key == BulkKey::BulkId && id.is_some() {
        return Err(syntax("an operation of a bulk request has no id"));
    }
    Ok(Item {
        method: text(&mut operation, "method")?.unwrap_or_default().to_ascii_uppercase(),
        bulk_id: if key == BulkKey::Id { id.or(bulk_id) } else { bulk_id },
        path: text(&mut operation, "path")?.unwrap_or_default(),
        version: text(&mut operation, "version")?,
        data: remove(&mut operation, "data"),
    })
}

fn text(operation: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match remove(operation, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(syntax(&format!("{name} of a bulk operation is text"))),
    }
}

fn syntax(detail: &str) -> Refusal {
    Refusal::of(ScimType::InvalidSyntax, detail)
}

#[cfg(test)]
mod tests;
