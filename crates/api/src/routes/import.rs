//! `/devices/import`: many devices at once.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use otaru_engine::{Auth, CheckedDevice, Engine};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::devices::NewDevice;
use crate::body::{self, parse_line};
use crate::caller::{Change, May};
use crate::import::csv::Table;
use crate::import::lines::{Line, Lines, TooLong, text};
use crate::import::{self, Form, LineAnswer, LineProblem, Source};
use crate::limits::{IMPORT_LINE_BYTES_MAX, IMPORTS_MAX};
use crate::openapi::Bytes;
use crate::problem::{Code, Problem};
use crate::router::{Imports, Shared};

/// Where devices are imported.
pub(crate) const PATH: &str = "/api/v1/devices/import";

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(import_devices))
}

/// What became of a line.
#[derive(Serialize, ToSchema)]
struct ImportedLine<'a> {
    /// From 1; empty lines are counted, and not answered.
    line: u64,
    status: ImportStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    device_id: Option<&'a str>,
    /// Shown once: of a device that was registered without one and needs one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    secret: Option<&'a str>,
    /// Of an error: one of the codes of a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    code: Option<&'a str>,
    /// Of an error: the member that is to be changed, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    field: Option<&'a str>,
    /// Of an error: for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    message: Option<&'a str>,
}

/// How it went.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ImportStatus {
    /// The device is registered.
    Created,
    /// The same device was registered already; nothing about it was changed.
    Exists,
    /// The line was not done.
    Error,
}

/// Imports devices, each line with the members of a new device.
///
/// The body is NDJSON, or CSV whose first row names the columns (`tag:KEY` for each tag; an empty cell is left out).
/// Each line is answered with a line, in order, once its device is stored and while the body still comes: read the
/// answer while sending. What stands in the way of one device is no obstacle for the others.
/// An import can be repeated: what is there already is answered with `exists`.
#[utoipa::path(
    post, path = "/devices/import", tag = "devices", operation_id = "import_devices",
    security(("token" = ["operator"])),
    request_body(content((NewDevice = "application/x-ndjson"), (inline(Bytes) = "text/csv"))),
    responses((status = 200, description = "A line for each line", body = ImportedLine<'static>, content_type = "application/x-ndjson")),
    extensions(("x-codes" = json!(["format_unknown", "invalid_line", "too_many_imports"]))),
)]
async fn import_devices(
    State(engine): State<Engine>,
    State(Imports(imports)): State<Imports>,
    may: May<Change>,
    request: Request,
) -> Result<Response, Problem> {
    let is_csv = is_csv(request.headers())?;
    let place = imports.try_acquire_owned().map_err(|_| {
        Problem::new(
            Code::TooManyImports,
            format!("{IMPORTS_MAX} imports are going on, which is as many as there may be; wait until one has ended"),
        )
    })?;
    let waits = request.headers().contains_key(header::EXPECT);
    let mut parts = body::parts(request.into_body());
    // `100 Continue` goes out when the body is first asked for, and not after the head of an answer: who waits for it
    // before sending would wait in vain.
    let first = if waits { parts.next().await } else { None };
    let parts = stream::iter(first).chain(parts);
    let mut source = Source { parts, lines: Lines::new(IMPORT_LINE_BYTES_MAX) };
    let answer = if is_csv {
        let first = import::first_line(&mut source).await;
        let first = first.map_err(|cut| Problem::new(Code::BodyIncomplete, cut.to_string()))?;
        let table = table(first.as_ref())?;
        import::begin(engine, may.by, source, Csv(table), write, place)
    } else {
        import::begin(engine, may.by, source, Ndjson, write, place)
    };
    Ok(answered(answer))
}

fn answered(body: Body) -> Response {
    let mut response = body.into_response();
    let lines = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(header::CONTENT_TYPE, lines);
    response
}

/// A body without a type, or with the one that `curl --data-binary` declares by itself, is taken for NDJSON.
fn is_csv(headers: &HeaderMap) -> Result<bool, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(false) };
    let sent = String::from_utf8_lossy(value.as_bytes());
    match sent.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-www-form-urlencoded" => Ok(false),
        "text/csv" => Ok(true),
        _ => Err(Problem::new(
            Code::FormatUnknown,
            format!(
                "the body is declared as `Content-Type: {sent}`; send NDJSON with `application/x-ndjson`, or CSV with \
                 `text/csv`"
            ),
        )),
    }
}

fn table(first: Option<&Line>) -> Result<Table, Problem> {
    let refused = |why: String| Problem::new(Code::InvalidLine, why);
    let Some(first) = first else {
        return Err(refused("the body is empty; CSV begins with a row that names its columns".to_owned()));
    };
    let header = line_text(first).map_err(|problem| refused(problem.message))?;
    Table::begin(header).map_err(refused)
}

fn line_text(line: &Line) -> Result<&str, LineProblem> {
    match &line.content {
        Ok(content) => text(content).map_err(|error| {
            let at = error.valid_up_to();
            LineProblem::new(Code::InvalidLine, format!("the line is not UTF-8 from byte {at} on"))
        }),
        Err(TooLong) => Err(LineProblem::new(
            Code::InvalidLine,
            format!("the line is longer than {IMPORT_LINE_BYTES_MAX} bytes, which is the most that is read"),
        )),
    }
}

/// Each line is an object.
struct Ndjson;

impl Form for Ndjson {
    fn read(&mut self, engine: &Engine, line: &Line) -> Result<CheckedDevice, LineProblem> {
        let device: NewDevice =
            parse_line(line_text(line)?).map_err(|(field, problem)| LineProblem::of(&problem, field))?;
        checked(engine, device)
    }
}

/// Each line is a row of this table.
struct Csv(Table);

impl Form for Csv {
    fn read(&mut self, engine: &Engine, line: &Line) -> Result<CheckedDevice, LineProblem> {
        let mut row = self.0.row(line_text(line)?).map_err(|why| LineProblem::new(Code::InvalidLine, why))?;
        let mut needed = |name: &str| {
            row.take(name).ok_or_else(|| LineProblem {
                field: Some(name.to_owned()),
                ..LineProblem::new(Code::InvalidMember, format!("`{name}` is empty; every device has one"))
            })
        };
        let (node_id, product_id) = (needed("node_id")?, needed("product_id")?);
        let auth = match row.take("auth").as_deref() {
            None | Some("secret") => Auth::Secret,
            Some("x509") => Auth::X509,
            Some(other) => {
                return Err(LineProblem {
                    field: Some("auth".to_owned()),
                    ..LineProblem::new(
                        Code::InvalidMember,
                        format!("`auth` is {other:?}; accepted are `secret` and `x509`"),
                    )
                });
            }
        };
        let device = NewDevice {
            device_id: row.take("device_id"),
            node_id,
            product_id,
            auth,
            secret: row.take("secret"),
            fingerprint: row.take("fingerprint"),
            gateway_id: row.take("gateway_id"),
            name: row.take("name"),
            tags: row.tags,
        };
        checked(engine, device)
    }
}

fn checked(engine: &Engine, device: NewDevice) -> Result<CheckedDevice, LineProblem> {
    Ok(engine.check_import(device.into())?)
}

fn write(into: &mut Vec<u8>, line: u64, answer: &LineAnswer) {
    let mut shown = ImportedLine {
        line,
        status: ImportStatus::Error,
        device_id: None,
        secret: None,
        code: None,
        field: None,
        message: None,
    };
    match answer {
        LineAnswer::Created { device_id, secret } => {
            shown.status = ImportStatus::Created;
            shown.device_id = Some(device_id.as_str());
            shown.secret = secret.as_deref();
        }
        LineAnswer::Exists { device_id } => {
            shown.status = ImportStatus::Exists;
            shown.device_id = Some(device_id.as_str());
        }
        LineAnswer::Error(problem) => {
            shown.code = Some(problem.code);
            shown.field = problem.field.as_deref();
            shown.message = Some(&problem.message);
        }
    }
    serde_json::to_writer(&mut *into, &shown).expect("a line is JSON, and memory takes every write");
    into.push(b'\n');
}
