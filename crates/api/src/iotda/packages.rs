//! `/ota-upgrades/packages`.

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use otaru_engine::{
    NewestPackages, ObjectError, ObjectPlace, PackageDelivery, PackageError, PackageKey, PackageRequest,
    PackageRow, StoreError, Thing,
};
use otaru_proto::PackageKind;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::apps::Apps;
use super::call::Call;
use super::input::{Fields, ID, Rule, VERSION, prose, seconds};
use super::members::{self, Members};
use super::modules::NOT_UPGRADED;
use super::paging::PageOf;
use super::refusal::{AWAY, EXISTS, INVALID, NO_OBJECT, NO_PACKAGE, NO_PRODUCT, of_engine, of_store};
use super::words::{PACKAGE_TYPES, kind_of_package, package_type};
use crate::problem::Problem;
use crate::router::Shared;

/// Versions that a package may start from.
pub(super) const SOURCES_MAX: usize = 20;
/// What the name of an object may end with.
pub(super) const SUFFIXES: &[&str] = &[
    ".bin", ".dav", ".tar", ".gz", ".zip", ".gzip", ".apk", ".tar.gz", ".tar.xz", ".pack", ".exe", ".bat",
    ".img",
];

pub(super) const REGION: Rule =
    Rule::of(256, |c| c.is_ascii_alphanumeric() || c == '-', "letters, digits and `-`").like("[A-Za-z0-9-]");
pub(super) const BUCKET: Rule = Rule::of(
    63,
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.',
    "a-z, 0-9, `-` and `.`",
)
.at_least(3)
.like("[a-z0-9.-]");

pub(super) const CUSTOM_INFO: Rule = Rule::of(4096, |_| true, "any characters");

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/v5/iot/{project_id}/ota-upgrades/packages", get(list).post(create))
        .route("/v5/iot/{project_id}/ota-upgrades/packages/{package_id}", get(show).delete(delete))
}

/// Where the bytes of a package are, as it was said.
struct Location {
    place: ObjectPlace,
    shown: Value,
}

impl Location {
    fn take(fields: &mut Fields) -> Result<Location, Problem> {
        let needed = "`file_location.obs_location` is required.";
        let mut location = fields.object("file_location")?.ok_or_else(|| INVALID.because(needed))?;
        let mut obs = location.object("obs_location")?.ok_or_else(|| INVALID.because(needed))?;
        let (region, bucket) = (obs.needed("region_name", REGION)?, obs.needed("bucket_name", BUCKET)?);
        let key = obs.needed("object_key", prose(1024))?;
        let method = obs.word("sign_method", &["SHA256"])?;
        let sign = obs.text("sign", prose(64))?;
        if let Some(sign) = &sign
            && (sign.len() != 64 || !sign.bytes().all(|byte| byte.is_ascii_hexdigit()))
        {
            return Err(
                INVALID.because(format!("`{}` is no SHA-256 in 64 hexadecimal digits.", obs.named("sign")))
            );
        }
        let mut shown = json!({"region_name": region, "bucket_name": bucket, "object_key": key});
        if let Some(method) = method {
            shown["sign_method"] = method.into();
        }
        if let Some(sign) = &sign {
            shown["sign"] = sign.clone().into();
        }
        let own = bucket == otaru_engine::OWN_BUCKET;
        if !own && !SUFFIXES.iter().any(|suffix| key.to_ascii_lowercase().ends_with(suffix)) {
            return Err(INVALID.because(format!(
                "`{}` ends with none of {}.",
                obs.named("object_key"),
                SUFFIXES.join(" ")
            )));
        }
        let sha256 = sign.map(|sign| sign.to_ascii_lowercase());
        Ok(Location { place: ObjectPlace { bucket, key, sha256 }, shown })
    }
}

async fn create(call: Call) -> Result<(StatusCode, Json<Value>), Problem> {
    let by = call.change()?;
    let mut fields = call.fields()?;
    let apps = call.apps().await?;
    let app_id = fields.needed("app_id", ID)?;
    apps.named(&app_id)?;
    let kind = match fields.word("package_type", PACKAGE_TYPES)? {
        Some(word) => kind_of_package(word)
            .ok_or_else(|| INVALID.because(format!("`package_type` modulePackage is not offered: {NOT_UPGRADED}; firmwarePackage and softwarePackage are accepted.")))?,
        None => return Err(INVALID.because("`package_type` is required.")),
    };
    let product_id = fields.needed("product_id", ID)?;
    let version = fields.needed("version", VERSION)?;
    let source_versions = fields.texts("support_source_versions", SOURCES_MAX, VERSION)?.unwrap_or_default();
    let mut kept = Map::new();
    if let Some(description) = fields.text("description", prose(1024))? {
        kept.insert("description".to_owned(), description.into());
    }
    let custom_info = fields.text("custom_info", CUSTOM_INFO)?;
    let location = Location::take(&mut fields)?;
    kept.insert("obs_location".to_owned(), location.shown);
    // Before anybody is asked for an object in vain.
    match call.engine.product(&product_id).await.map_err(of_store)? {
        Some(product) => apps.check(Some(&app_id), &product)?,
        None => return Err(NO_PRODUCT.because("`product_id` names it.")),
    }
    let found = call.engine.object_content(location.place).await;
    let (content, file_name) = found.map_err(|error| match &error {
        ObjectError::NoBucket(_) | ObjectError::Missing { .. } | ObjectError::Forbidden { .. } => {
            NO_OBJECT.because(format!("{error}."))
        }
        ObjectError::Unreadable { bucket, .. } => {
            let words = format!("Bucket {bucket} does not answer. {}", AWAY.words());
            Problem::from(error).in_published_words(AWAY.code(), &words)
        }
        ObjectError::Key(_)
        | ObjectError::Empty { .. }
        | ObjectError::TooLarge { .. }
        | ObjectError::OtherDigest { .. }
        | ObjectError::Ingest(_)
        | ObjectError::Store(_) => of_engine(error, INVALID),
    })?;
    let request = PackageRequest {
        product_id,
        kind,
        version,
        content,
        file_name,
        source_versions,
        custom_info,
        delivery: PackageDelivery::SignedUrl,
    };
    let made = call.engine.create_package_with(by, request, members::text(&kept)).await;
    let row = made.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(view(&call, &apps, &row, kept, true).await?)))
}

fn refused(error: PackageError) -> Problem {
    match &error {
        PackageError::Store(StoreError::Missing { what: "product", .. }) => NO_PRODUCT.plain(),
        PackageError::Store(StoreError::Exists { .. }) => {
            EXISTS.because("The product has another package of this type and version; delete that one first.")
        }
        PackageError::Unknown(_)
        | PackageError::Version { .. }
        | PackageError::TooManySources(_)
        | PackageError::FileName(_)
        | PackageError::CustomInfo(_)
        | PackageError::Store(_) => of_engine(error, NO_PACKAGE),
    }
}

/// `whole`: with the location, which rows of a list do not have.
async fn view(
    call: &Call,
    apps: &Apps,
    row: &PackageRow,
    mut kept: Members,
    whole: bool,
) -> Result<Value, Problem> {
    let product = call.engine.product(&row.product_id).await.map_err(of_store)?;
    let mut shown = json!({
        "package_id": row.package_id,
        "app_id": apps.id(Apps::of_product(product.as_ref())),
        "package_type": package_type(row.kind),
        "product_id": row.product_id,
        "version": row.version,
        "product_name": product.map(|product| product.name).unwrap_or_default(),
        "create_time": seconds(row.created_at),
    });
    if !row.source_versions.is_empty() {
        shown["support_source_versions"] = json!(row.source_versions);
    }
    if let Some(info) = &row.custom_info {
        shown["custom_info"] = info.clone().into();
    }
    if let Some(description) = kept.remove("description") {
        shown["description"] = description;
    }
    if whole {
        // What was made through the native API is in the platform's own bucket.
        let artifact_id = row.content.artifact().map_or("", |(id, _)| id);
        let own = || {
            json!({
                "region_name": "local",
                "bucket_name": otaru_engine::OWN_BUCKET,
                "object_key": format!("{artifact_id}/{}", row.file_name),
            })
        };
        let location = kept.remove("obs_location").unwrap_or_else(own);
        shown["file_location"] = json!({ "obs_location": location });
    }
    Ok(shown)
}

async fn show(call: Call) -> Result<Json<Value>, Problem> {
    call.look()?;
    let row = call.engine.package(call.id()).await.map_err(of_store)?.ok_or_else(|| NO_PACKAGE.plain())?;
    let kept = members::of(&call.engine, Thing::Package(row.key)).await?;
    Ok(Json(view(&call, &call.apps().await?, &row, kept, true).await?))
}

#[derive(Serialize)]
struct Listed {
    packages: Vec<Value>,
    page: PageOf,
}

async fn list(call: Call) -> Result<Json<Listed>, Problem> {
    call.look()?;
    let apps = call.apps().await?;
    let spaces = call.asked_spaces(&apps)?;
    let page = call.paging()?.rows(PackageKey);
    let word = call.asked_for("package_type")?;
    if !PACKAGE_TYPES.contains(&word) {
        let shown: String = word.chars().take(64).collect();
        return Err(INVALID
            .because(format!("`package_type` is {shown:?}; {} is accepted.", PACKAGE_TYPES.join(", "))));
    }
    let Some(kind): Option<PackageKind> = kind_of_package(word) else {
        return Ok(Json(Listed { packages: Vec::new(), page: PageOf::new(0, None) }));
    };
    let filter = NewestPackages {
        kind: Some(kind),
        product_id: call.asked("product_id").map(str::to_owned),
        version: call.asked("version").map(str::to_owned),
        spaces,
    };
    let (rows, total) = call.engine.newest_packages(filter, page).await.map_err(of_store)?;
    let last = rows.last().map(|row| row.key.0);
    let mut kept =
        members::all(&call.engine, rows.iter().map(|row| Thing::Package(row.key)).collect()).await?;
    let mut packages = Vec::with_capacity(rows.len());
    for row in &rows {
        let kept = kept.remove(&Thing::Package(row.key)).unwrap_or_default();
        packages.push(view(&call, &apps, row, kept, false).await?);
    }
    Ok(Json(Listed { packages, page: PageOf::new(total.n, last) }))
}

async fn delete(call: Call) -> Result<StatusCode, Problem> {
    let by = call.change()?;
    call.engine.delete_package(by, call.id()).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
