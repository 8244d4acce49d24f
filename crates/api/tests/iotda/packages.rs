use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::client::{IMAGE, Stage, refused};

fn sha256() -> String {
    Sha256::digest(IMAGE).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn a_package_comes_back_as_it_was_made_and_rows_have_no_location() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let mut body = stage.package_of("2.0.0");
    body["support_source_versions"] = json!(["1.0.0", "1.1.0"]);
    body["description"] = json!("winter release");
    body["custom_info"] = json!("{\"reboot\":\"night\"}");
    body["file_location"]["obs_location"]["sign_method"] = json!("SHA256");
    body["file_location"]["obs_location"]["sign"] = json!(sha256());
    let made = stage.post("/ota-upgrades/packages", body.clone()).await.ok(201);
    for (name, value) in body.as_object().unwrap() {
        assert_eq!(&made[name], value, "{name}");
    }
    assert_eq!((&made["product_name"], made["package_id"].as_str().unwrap().len()), (&json!("Pump"), 24));
    let path = format!("/ota-upgrades/packages/{}", made["package_id"].as_str().unwrap());
    let read = stage.until_read(&made).await;
    assert_eq!((&read["state"], &read["artifact_id"]), (&json!("ready"), &json!(sha256())));
    assert_eq!(stage.get(&path).await.ok(200), made);
    let mut row = made;
    row.as_object_mut().unwrap().remove("file_location");
    for query in ["", "&product_id=pump", "&version=2.0.0", "&limit=50&offset=0"] {
        let listed =
            stage.get(&format!("/ota-upgrades/packages?package_type=firmwarePackage{query}")).await.ok(200);
        assert_eq!((&listed["packages"], &listed["page"]["count"]), (&json!([row]), &json!(1)), "{query}");
    }
    for query in
        ["softwarePackage", "modulePackage", "firmwarePackage&version=1", "firmwarePackage&product_id=none"]
    {
        let listed = stage.get(&format!("/ota-upgrades/packages?package_type={query}")).await.ok(200);
        assert_eq!(listed["packages"], json!([]), "{query}");
    }
    assert_eq!(stage.delete(&path).await.status, 204);
    refused(&stage.get(&path).await, 404, "IOTDA.000101");
    refused(&stage.delete(&path).await, 404, "IOTDA.000101");
    assert!(stage.bucket.path().join("pump/fw.bin").exists(), "the object stays");
}

#[tokio::test]
async fn an_upload_to_the_platform_is_an_object_of_its_own_bucket() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let artifact = stage.house.operator().artifact(IMAGE).await;
    let mut body = stage.package_of("2.0");
    let location =
        json!({"region_name": "local", "bucket_name": "otaru", "object_key": format!("{artifact}/fw.bin")});
    body["file_location"]["obs_location"] = location.clone();
    let made = stage.post("/ota-upgrades/packages", body).await.ok(201);
    let native = format!("/api/v1/packages/{}", made["package_id"].as_str().unwrap());
    let native = stage.house.operator().get(&native).await.ok(200);
    assert_eq!((&native["artifact_id"], &native["file_name"]), (&json!(artifact), &json!("fw.bin")));
    // What was made through the native API is shown the same way.
    let id = stage.house.operator().package("pump", "3.0", IMAGE).await;
    let shown = stage.get(&format!("/ota-upgrades/packages/{id}")).await.ok(200);
    assert_eq!(shown["file_location"]["obs_location"]["object_key"], json!(format!("{artifact}/lamp.bin")));
}

#[tokio::test]
async fn what_is_not_there_or_is_something_else_makes_no_package() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let with = async |bucket: &str, key: &str, sign: Option<&str>| {
        let mut body = stage.package_of("2.0");
        let obs = &mut body["file_location"]["obs_location"];
        obs["bucket_name"] = json!(bucket);
        obs["object_key"] = json!(key);
        obs["sign"] = json!(sign);
        stage.post("/ota-upgrades/packages", body).await
    };
    std::fs::write(stage.bucket.path().parent().unwrap().join("outside.bin"), "x").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", stage.bucket.path().join("link.bin")).unwrap();
    std::fs::create_dir(stage.bucket.path().join("dir.bin")).unwrap();
    std::fs::write(stage.bucket.path().join("empty.bin"), "").unwrap();
    for (bucket, key) in [
        ("none", "pump/fw.bin"),
        ("firmware", "pump/none.bin"),
        ("firmware", "pump/fw.bin/x.bin"),
        ("firmware", "link.bin"),
        ("firmware", "dir.bin"),
        ("otaru", &"0".repeat(64)),
    ] {
        refused(&with(bucket, key, None).await, 400, "IOTDA.000109");
    }
    for key in ["../outside.bin", "/etc/x.bin", "a/../../outside.bin", "empty.bin"] {
        refused(&with("firmware", key, None).await, 400, "IOTDA.000006");
    }
    let long = format!("{}.bin", "x".repeat(300));
    refused(&with("firmware", &long, None).await, 400, "IOTDA.000109");
    let artifact = stage.house.operator().artifact(IMAGE).await;
    let message = refused(&with("otaru", &artifact, Some(&"0".repeat(64))).await, 400, "IOTDA.000006");
    assert!(message.contains(&sha256()), "{message}");
    assert_eq!(
        stage.get("/ota-upgrades/packages?package_type=firmwarePackage").await.ok(200)["packages"],
        json!([])
    );
    std::fs::remove_file(stage.bucket.path().parent().unwrap().join("outside.bin")).unwrap();
}

#[tokio::test]
async fn an_object_that_is_not_what_was_said_makes_an_invalid_package_and_a_task_says_so() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    stage.device("sn1").await;
    let mut body = stage.package_of("2.0");
    body["file_location"]["obs_location"]["sign"] = json!("0".repeat(64));
    let made = stage.post("/ota-upgrades/packages", body).await.ok(201);
    let id = made["package_id"].as_str().unwrap();
    let shown = stage.until_read(&made).await;
    assert_eq!(shown["state"], json!("invalid"));
    assert!(shown["problem"].as_str().unwrap().contains(&sha256()), "{shown}");
    assert_eq!((&shown["artifact_id"], &shown["size_bytes"]), (&json!(null), &json!(null)));
    let task = json!({"task_name": "t", "task_type": "firmwareUpgrade", "targets": ["pump_sn1"], "document": {"package_ids": [id]}});
    let task = stage.post("/batchtasks", task).await.ok(201);
    let why = task["status_desc"].as_str().unwrap();
    assert!(why.contains(id) && why.contains("invalid"), "{why}");
    // Whoever put another image there says so.
    let native = format!("/api/v1/packages/{id}");
    let again = stage.house.operator().post(&format!("{native}/retry"), json!(null)).await.ok(200);
    assert_eq!((&again["state"], &again["problem"]), (&json!("pending"), &json!(null)));
    let again = stage.house.operator().post("/api/v1/packages/none/retry", json!(null)).await;
    assert_eq!(again.status, 404);
    assert_eq!(stage.until_read(&made).await["state"], json!("invalid"));
}

#[tokio::test]
async fn each_member_is_held_against_its_range() {
    let stage = Stage::open().await;
    stage.product("pump").await;
    let set = |path: &[&str], value: Value| {
        let mut body = stage.package_of("2.0");
        let mut at = &mut body;
        for name in path {
            at = &mut at[*name];
        }
        *at = value;
        body
    };
    let obs = "file_location";
    for (path, value) in [
        (vec!["app_id"], json!(null)),
        (vec!["package_type"], json!("modulePackage")),
        (vec!["package_type"], json!("")),
        (vec!["product_id"], json!("a b")),
        (vec!["version"], json!("")),
        (vec!["version"], json!("x".repeat(257))),
        (vec!["version"], json!("1 0")),
        (vec!["support_source_versions"], json!("1.0")),
        (vec!["support_source_versions"], json!(vec!["1"; 21])),
        (vec!["support_source_versions"], json!([1])),
        (vec!["description"], json!("x".repeat(1_025))),
        (vec!["custom_info"], json!("x".repeat(4_097))),
        (vec![obs], json!({})),
        (vec![obs], json!(null)),
        (vec![obs, "obs_location", "region_name"], json!("a_b")),
        (vec![obs, "obs_location", "bucket_name"], json!("ab")),
        (vec![obs, "obs_location", "bucket_name"], json!("Bucket")),
        (vec![obs, "obs_location", "object_key"], json!("")),
        (vec![obs, "obs_location", "object_key"], json!("fw.elf")),
        (vec![obs, "obs_location", "object_key"], json!(format!("{}.bin", "x".repeat(1_024)))),
        (vec![obs, "obs_location", "sign_method"], json!("MD5")),
        (vec![obs, "obs_location", "sign"], json!("abc")),
    ] {
        let message = refused(
            &stage.post("/ota-upgrades/packages", set(&path, value.clone())).await,
            400,
            "IOTDA.000006",
        );
        assert!(message.contains(path.last().unwrap()), "{path:?} {value}: {message}");
    }
    let nowhere = set(&["product_id"], json!("none"));
    refused(&stage.post("/ota-upgrades/packages", nowhere).await, 404, "IOTDA.000104");
    stage.package("2.0").await;
    refused(&stage.post("/ota-upgrades/packages", stage.package_of("2.0")).await, 400, "IOTDA.000107");
    refused(&stage.get("/ota-upgrades/packages").await, 400, "IOTDA.000006");
    refused(&stage.get("/ota-upgrades/packages?package_type=x").await, 400, "IOTDA.000006");
}
