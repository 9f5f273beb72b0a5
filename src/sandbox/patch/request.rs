//! The body of a PATCH request.

use scim_v2::filter::PatchPath;
use serde_json::{Map, Value};

use crate::sandbox::error::{Refusal, ScimType};
use crate::sandbox::filter::parse_path;
use crate::sandbox::path::remove;

/// The schema of a PatchOp message.
pub const PATCH_URN: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// RFC 7644 s3.5.2.1
    Add,
    /// RFC 7644 s3.5.2.2
    Remove,
    /// RFC 7644 s3.5.2.3
    Replace,
}

/// One operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What it does.
    pub op: Op,
    /// Where; none: to the resource itself.
    pub path: Option<PatchPath>,
    /// With what.
    pub value: Option<Value>,
}

/// Reads a PatchOp message. Names and `op` in any case.
///
/// # Errors
/// `invalidSyntax`, `invalidPath`.
pub fn parse(body: Value) -> Result<Vec<Operation>, Refusal> {
    let Value::Object(mut message) = body else {
        return Err(syntax("a PATCH is an object"));
    };
    check_schemas(remove(&mut message, "schemas"))?;
    match remove(&mut message, "Operations") {
        Some(Value::Array(operations)) if !operations.is_empty() => {
            operations.into_iter().map(operation).collect()
        }
        _ => Err(syntax("a PATCH needs a list of Operations with at least one")),
    }
}

fn check_schemas(schemas: Option<Value>) -> Result<(), Refusal> {
    let Some(schemas) = schemas else { return Ok(()) };
    let urns = schemas.as_array().into_iter().flatten().filter_map(Value::as_str);
    match urns.into_iter().any(|urn| urn.eq_ignore_ascii_case(PATCH_URN)) {
        true => Ok(()),
        false => Err(syntax(&format!("schemas must name {PATCH_URN}"))),
    }
}

fn operation(operation: Value) -> Result<Operation, Refusal> {
    let Value::Object(mut operation) = operation else {
        return Err(syntax("an operation is an object"));
    };
    Ok(Operation {
        op: op(&mut operation)?,
        path: path(&mut operation)?,
        value: remove(&mut operation, "value"),
    })
}

fn op(operation: &mut Map<String, Value>) -> Result<Op, Refusal> {
    let text = match remove(operation, "op") {
        Some(Value::String(text)) => text,
        _ => return Err(syntax("an operation needs an op")),
    };
    match text.to_ascii_lowercase().as_str() {
        "add" => Ok(Op::Add),
        "remove" => Ok(Op::Remove),
        "replace" => Ok(Op::Replace),
        _ => Err(syntax(&format!("op {text} is not add, remove or replace"))),
    }
}

fn path(operation: &mut Map<String, Value>) -> Result<Option<PatchPath>, Refusal> {
    match remove(operation, "path") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => parse_path(&text).map(Some),
        Some(_) => Err(Refusal::of(ScimType::InvalidPath, "a path is text")),
    }
}

fn syntax(detail: &str) -> Refusal {
    Refusal::of(ScimType::InvalidSyntax, detail)
}
