//! A client of the application API, and a platform with a bucket.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{Method, Request};
use hmac::{Hmac, KeyInit, Mac};
use otaru_engine::{Role, Settings};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::house::{Answer, House};

/// A platform, its bucket `firmware`, and an application's access key.
pub struct Stage {
    pub house: House,
    pub bucket: tempfile::TempDir,
    pub project: String,
    pub access_key: String,
    pub secret: String,
}

/// What the object `pump/fw.bin` holds.
pub const IMAGE: &[u8] = b"an image for pumps";

impl Stage {
    pub async fn open() -> Stage {
        Stage::with(Settings::default()).await
    }

    /// One with settings of its own.
    pub async fn with(settings: Settings) -> Stage {
        let bucket = tempfile::tempdir().unwrap();
        std::fs::create_dir(bucket.path().join("pump")).unwrap();
        std::fs::write(bucket.path().join("pump/fw.bin"), IMAGE).unwrap();
        let buckets =
            [("firmware".to_owned(), otaru_engine::Bucket::Directory(bucket.path().to_owned()))].into();
        let settle = std::time::Duration::from_millis(1);
        let house = House::with(Settings { settle, buckets, ..settings }).await;
        let made =
            house.admin().post("/api/v1/access-keys", json!({"name": "app", "role": "operator"})).await;
        let made = made.ok(201);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Stage {
            project: text("project_id"),
            access_key: text("access_key"),
            secret: text("secret_key"),
            house,
            bucket,
        }
    }

    /// Waits until the bytes of a package were looked at; answers with the package as operators see it.
    pub async fn until_read(&self, package: &Value) -> Value {
        let path = format!("/api/v1/packages/{}", package["package_id"].as_str().unwrap());
        for _ in 0..2_000 {
            let shown = self.house.operator().get(&path).await.ok(200);
            if shown["state"] != json!("pending") {
                return shown;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("never read: {:?}", self.house.operator().get(&path).await);
    }

    /// A path below the project.
    pub fn path(&self, path: &str) -> String {
        format!("/v5/iot/{}{path}", self.project)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }
    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Method::DELETE, path, None).await
    }
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// A signed call.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(self.signed(method, &self.path(path), &body)).await
    }

    /// A request that is signed as clients do, for any path.
    pub fn signed(&self, method: Method, target: &str, body: &str) -> Request<Body> {
        self.signed_at(self.house.engine.wall().0, method, target, body)
    }

    /// The same, signed at another time, in milliseconds.
    pub fn signed_at(&self, ms: i64, method: Method, target: &str, body: &str) -> Request<Body> {
        let date = date(ms);
        let headers = [("content-type", "application/json"), ("host", "h"), ("x-sdk-date", &date)];
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        pairs.sort_unstable();
        let mut text = format!("{method}\n{path}/\n{}\n", pairs.join("&"));
        for (name, value) in headers {
            let _ = writeln!(text, "{name}:{value}");
        }
        let _ = write!(text, "\ncontent-type;host;x-sdk-date\n{}", hex(&Sha256::digest(body)));
        let to_sign = format!("SDK-HMAC-SHA256\n{date}\n{}", hex(&Sha256::digest(text)));
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).unwrap();
        mac.update(to_sign.as_bytes());
        let signature = hex(&mac.finalize().into_bytes());
        let authorization = format!(
            "SDK-HMAC-SHA256 Access={}, SignedHeaders=content-type;host;x-sdk-date, Signature={signature}",
            self.access_key
        );
        let mut request =
            Request::builder().method(method).uri(target).header("authorization", authorization);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(Body::from(body.to_owned())).unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        self.house.ask(request).await
    }

    /// With another key of this role.
    pub async fn with_role(self, role: Role) -> Stage {
        let made =
            self.house.admin().post("/api/v1/access-keys", json!({"name": "x", "role": role})).await.ok(201);
        let text = |name: &str| made[name].as_str().unwrap().to_owned();
        Stage { access_key: text("access_key"), secret: text("secret_key"), ..self }
    }

    // What applications do, in one word each.

    pub async fn product(&self, product_id: &str) -> Value {
        let body = json!({
            "product_id": product_id, "name": "Pump", "device_type": "pump", "protocol_type": "MQTT",
            "data_format": "json", "service_capabilities": [],
        });
        self.post("/products", body).await.ok(201)
    }

    pub async fn device(&self, node_id: &str) -> Value {
        self.post("/devices", json!({"product_id": "pump", "node_id": node_id})).await.ok(201)
    }

    pub fn package_of(&self, version: &str) -> Value {
        json!({
            "app_id": self.project, "package_type": "firmwarePackage", "product_id": "pump",
            "version": version, "file_location": {"obs_location": {
                "region_name": "local", "bucket_name": "firmware", "object_key": "pump/fw.bin",
            }},
        })
    }

    pub async fn package(&self, version: &str) -> String {
        let made = self.post("/ota-upgrades/packages", self.package_of(version)).await.ok(201);
        made["package_id"].as_str().unwrap().to_owned()
    }

    /// Product `pump`, these devices, and firmware `2.0` for them.
    pub async fn furnish(&self, nodes: &[&str]) -> String {
        self.product("pump").await;
        for node in nodes {
            self.device(node).await;
        }
        self.package("2.0").await
    }
}

/// The message of a refusal that must have this status and code, and the form of one.
#[track_caller]
pub fn refused(answer: &Answer, status: u16, code: &str) -> String {
    let body = answer.ok(status);
    assert_eq!(body["error_code"], code, "{body}");
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    assert!(!answer.header("x-request-id").is_empty());
    body["error_msg"].as_str().unwrap().to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `YYYYMMDDTHHMMSSZ`.
pub fn date(ms: i64) -> String {
    let form = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    time::OffsetDateTime::from_unix_timestamp(ms / 1_000).unwrap().format(form).unwrap()
}
