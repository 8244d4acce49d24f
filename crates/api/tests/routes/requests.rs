//! What holds for every request: who may, which paths and methods, what a body and a query must look like.

use axum::body::Body;
use axum::http::Method;
use serde_json::json;

use crate::house::{House, JSON};

#[tokio::test]
async fn without_a_token_the_answer_says_how_to_send_one() {
    let house = House::open().await;
    let refused = house.stranger().get("/api/v1/products").await;
    assert!(refused.refused(401, "token_missing").contains("Authorization: Bearer TOKEN"));
    assert_eq!(refused.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn an_unknown_token_is_told_apart_from_a_missing_one() {
    let house = House::open().await;
    let refused = house.with_token("never-made").get("/api/v1/products").await;
    refused.refused(401, "unauthorized");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn the_scheme_may_be_in_any_case() {
    let house = House::open().await;
    let made = house.admin().post("/api/v1/tokens", json!({"name": "ci", "role": "viewer"})).await.ok(201);
    for scheme in ["bearer", "BEARER", "Bearer "] {
        let value = format!("{scheme} {}", made["token"].as_str().unwrap());
        let headers = [("authorization", value.as_str())];
        house.stranger().send(Method::GET, "/api/v1/products", &headers, Body::empty()).await.ok(200);
    }
}

#[tokio::test]
async fn a_viewer_may_look_at_everything_and_change_nothing() {
    let house = House::open().await;
    for path in ["products", "devices", "packages", "campaigns", "refused-connections"] {
        house.viewer().get(&format!("/api/v1/{path}")).await.ok(200);
    }
    for path in ["products", "devices", "packages", "campaigns", "artifacts", "campaigns/c/start"] {
        let refused = house.viewer().post(&format!("/api/v1/{path}"), json!({})).await;
        assert_eq!(
            refused.refused(403, "role_too_low"),
            "this needs the role `operator` and the token has `viewer`; use another token, or ask an admin for one"
        );
    }
    for path in ["devices/d", "packages/p"] {
        house.viewer().delete(&format!("/api/v1/{path}")).await.refused(403, "role_too_low");
    }
    house.viewer().patch("/api/v1/devices/d", json!({})).await.refused(403, "role_too_low");
}

#[tokio::test]
async fn the_role_is_checked_before_the_body_is_looked_at() {
    let house = House::open().await;
    let refused = house.viewer().send(Method::POST, "/api/v1/products", &JSON, Body::from("{nonsense")).await;
    refused.refused(403, "role_too_low");
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_404() {
    let house = House::open().await;
    for path in ["/api/v1/produce", "/api/v2/products", "/", "/api/v1/products/", "/download/x"] {
        let refused = house.admin().get(path).await;
        assert!(refused.refused(404, "path_unknown").contains(path));
    }
}

#[tokio::test]
async fn a_method_that_is_not_there_is_405_and_says_which_are() {
    let house = House::open().await;
    let refused = house.admin().send(Method::PUT, "/api/v1/devices/d", &[], Body::empty()).await;
    refused.refused(405, "method_not_allowed");
    let allowed = refused.header("allow");
    for method in ["GET", "PATCH", "DELETE"] {
        assert!(allowed.contains(method), "{allowed}");
    }
    house.admin().delete("/api/v1/products").await.refused(405, "method_not_allowed");
}

#[tokio::test]
async fn a_body_that_is_declared_as_something_else_is_415() {
    let house = House::open().await;
    let body = || Body::from(r#"{"name":"Lamp"}"#);
    let path = "/api/v1/products";
    for declared in ["text/plain", "multipart/form-data; boundary=x", "application/xml"] {
        let refused = house.operator().send(Method::POST, path, &[("content-type", declared)], body()).await;
        assert!(refused.refused(415, "body_not_json").contains(declared));
    }
    for declared in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
        house.operator().send(Method::POST, path, &[("content-type", declared)], body()).await.ok(201);
    }
    house.operator().send(Method::POST, path, &[], body()).await.ok(201);
    let of_curl = [("content-type", "application/x-www-form-urlencoded")];
    house.operator().send(Method::POST, path, &of_curl, body()).await.ok(201);
    let form = house.operator().send(Method::POST, path, &of_curl, Body::from("name=Lamp")).await;
    form.refused(400, "invalid_json");
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_with_the_place() {
    let house = House::open().await;
    for (body, hint) in [
        ("", "empty"),
        ("  \n", "empty"),
        ("{\"name\":", "line 1 column 8"),
        ("{\"name\":\"a\"} trailing", "line 1 column 14"),
        ("{\"name\":\"\u{1}\"}", "line 1 column"),
    ] {
        let refused = house.operator().send(Method::POST, "/api/v1/products", &JSON, Body::from(body)).await;
        let message = refused.refused(400, "invalid_json");
        assert!(message.contains(hint), "{message}");
    }
    let not_text = Body::from(&b"{\"name\":\"\xff\"}"[..]);
    house
        .operator()
        .send(Method::POST, "/api/v1/products", &JSON, not_text)
        .await
        .refused(400, "invalid_json");
}

#[tokio::test]
async fn an_unknown_member_is_named_and_so_are_the_known_ones() {
    let house = House::open().await;
    let refused = house.operator().post("/api/v1/products", json!({"name": "Lamp", "colour": "red"})).await;
    let message = refused.refused(400, "invalid_member");
    assert!(message.contains("`colour`") && message.contains("`product_id` or `name`"), "{message}");
}

#[tokio::test]
async fn a_wrong_type_is_named_with_its_path_and_value() {
    let house = House::open().await;
    for (body, hints) in [
        (json!({"name": 5}), ["`name`", "integer `5`"]),
        (json!(["lamp", "Lamp"]), ["the body", "expected a JSON object"]),
        (json!("Lamp"), ["the body", "expected a JSON object"]),
        (json!({}), ["the body", "missing field `name`"]),
    ] {
        let message = house.operator().post("/api/v1/products", body).await.refused(400, "invalid_member");
        for hint in hints {
            assert!(message.contains(hint), "{hint} in {message}");
        }
    }
    for (devices, hints) in [
        (json!({"ids": ["a", 7]}), ["`devices.ids[1]`", "integer `7`"]),
        (json!([["a"]]), ["`devices`", "expected a JSON object"]),
        (json!({"tags": {"site": 7}}), ["`devices.tags.site`", "integer `7`"]),
    ] {
        let campaign = json!({"name": "c", "package_ids": [], "devices": devices});
        let message =
            house.operator().post("/api/v1/campaigns", campaign).await.refused(400, "invalid_member");
        for hint in hints {
            assert!(message.contains(hint), "{hint} in {message}");
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_whether_declared_or_not() {
    let house = House::open().await;
    let large = vec![b' '; otaru_api::limits::JSON_BODY_BYTES_MAX + 1];
    let refused =
        house.operator().send(Method::POST, "/api/v1/products", &JSON, Body::from(large.clone())).await;
    assert!(refused.refused(413, "body_too_large").contains("4194304 bytes"));
    let parts: Vec<Result<_, std::io::Error>> = large.chunks(65_536).map(|part| Ok(part.to_vec())).collect();
    let undeclared = Body::from_stream(futures_util::stream::iter(parts));
    let refused = house.operator().send(Method::POST, "/api/v1/products", &JSON, undeclared).await;
    refused.refused(413, "body_too_large");
}

#[tokio::test]
async fn a_parameter_that_is_not_one_is_named() {
    let house = House::open().await;
    for path in ["products", "packages", "campaigns", "devices", "refused-connections"] {
        let refused = house.viewer().get(&format!("/api/v1/{path}?colour=red")).await;
        assert!(refused.refused(400, "invalid_parameter").contains("`colour`"));
    }
    let twice = house.viewer().get("/api/v1/products?limit=1&limit=2").await;
    assert!(twice.refused(400, "invalid_parameter").contains("more than once"));
}

#[tokio::test]
async fn a_limit_is_1_to_1000() {
    let house = House::open().await;
    for limit in ["0", "1001", "-1", "ten", ""] {
        let refused = house.viewer().get(&format!("/api/v1/products?limit={limit}")).await;
        let message = refused.refused(400, "invalid_parameter");
        assert_eq!(message, format!("`limit` is `{limit}`; 1 to 1000 is accepted"));
    }
    for limit in ["1", "1000"] {
        house.viewer().get(&format!("/api/v1/products?limit={limit}")).await.ok(200);
    }
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused() {
    let house = House::open().await;
    for cursor in ["nonsense", "device-1", "%20", ""] {
        let refused = house.viewer().get(&format!("/api/v1/products?cursor={cursor}")).await;
        assert!(refused.refused(400, "invalid_cursor").contains("`cursor`"));
    }
}

#[tokio::test]
async fn a_path_that_is_not_text_is_refused() {
    let house = House::open().await;
    house.viewer().get("/api/v1/products/%ff").await.refused(400, "invalid_path");
}

#[tokio::test]
async fn the_callers_request_id_comes_back() {
    let house = House::open().await;
    let own = [("x-request-id", "deploy-42")];
    let fine = house.viewer().send(Method::GET, "/api/v1/products", &own, Body::empty()).await;
    assert_eq!(fine.header("x-request-id"), "deploy-42");
    let refused = house.viewer().send(Method::GET, "/api/v1/products/none", &own, Body::empty()).await;
    refused.refused(404, "not_found");
    assert_eq!(refused.header("x-request-id"), "deploy-42");
    let unfit = [("x-request-id", "two words")];
    let made = house.viewer().send(Method::GET, "/api/v1/products", &unfit, Body::empty()).await;
    assert_eq!(made.header("x-request-id").len(), 24);
}

#[tokio::test]
async fn an_outage_of_the_store_is_503_with_a_time_to_try_again() {
    let house = House::open().await;
    house.faults.fail_until_healed();
    let refused = house.operator().post("/api/v1/products", json!({"name": "Lamp"})).await;
    let message = refused.refused(503, "unavailable");
    assert!(message.contains("try again"), "{message}");
    assert_eq!(refused.header("retry-after"), "5");
    house.faults.heal();
    house.operator().post("/api/v1/products", json!({"name": "Lamp"})).await.ok(201);
}

#[tokio::test]
async fn a_json_body_that_breaks_off_is_refused() {
    let house = House::open().await;
    let parts = [Ok(&b"{\"name\":"[..]), Err(std::io::Error::other("gone"))];
    let broken = Body::from_stream(futures_util::stream::iter(parts));
    let refused = house.operator().send(Method::POST, "/api/v1/products", &JSON, broken).await;
    refused.refused(400, "body_incomplete");
}

#[tokio::test]
async fn an_optional_member_that_is_null_was_left_out() {
    let house = House::open().await;
    let operator = house.operator();
    operator.post("/api/v1/products", json!({"product_id": "lamp", "name": "Lamp"})).await.ok(201);
    let device = json!({"product_id": "lamp", "node_id": "1", "device_id": null, "secret": null, "gateway_id": null,
        "name": null, "tags": null});
    let device = operator.post("/api/v1/devices", device).await.ok(201);
    assert_eq!(device["tags"], json!({}));
    let artifact = operator.send(Method::POST, "/api/v1/artifacts", &[], Body::from("image")).await.ok(201);
    let package = json!({"product_id": "lamp", "kind": "firmware", "version": "v2", "file_name": "a.bin",
        "artifact_id": artifact["artifact_id"], "source_versions": null, "custom_info": null, "delivery": null});
    let package = operator.post("/api/v1/packages", package).await.ok(201);
    let campaign = json!({"name": "c", "package_ids": [package["package_id"]], "devices": {"product_id": "lamp"},
        "retry": null, "limits": null, "timers": null, "on_conflict": null, "start": null});
    let campaign = operator.post("/api/v1/campaigns", campaign).await.ok(201);
    assert_eq!(campaign["retry"], json!({"count": 0, "interval_secs": 0}));
    let refused = operator.post("/api/v1/campaigns", json!({"name": "c", "devices": null})).await;
    refused.refused(400, "invalid_member");
}
