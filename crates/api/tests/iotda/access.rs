use axum::body::Body;
use axum::http::{Method, Request};
use otaru_engine::Role;
use serde_json::json;

use crate::client::{Stage, date, refused};

#[tokio::test]
async fn a_signed_call_is_answered_and_one_that_was_changed_is_not() {
    let stage = Stage::open().await;
    stage.get("/products?limit=1&offset=0").await.ok(200);
    let target = stage.path("/products");
    let with = async |change: fn(&mut Request<Body>)| {
        let mut request = stage.signed(Method::GET, &target, "");
        change(&mut request);
        stage.send(request).await
    };
    let changes: [fn(&mut Request<Body>); 4] = [
        |request| *request.body_mut() = Body::from("{}"),
        |request| *request.method_mut() = Method::POST,
        |request| *request.uri_mut() = format!("{}?limit=1", request.uri()).parse().unwrap(),
        |request| drop(request.headers_mut().insert("host", "other".parse().unwrap())),
    ];
    for change in changes {
        let message = refused(&with(change).await, 401, "IOTDA.000002");
        assert!(message.contains("does not match"), "{message}");
    }
}

#[tokio::test]
async fn an_unknown_key_a_late_date_and_no_proof_at_all_are_refused() {
    let stage = Stage::open().await;
    let target = stage.path("/products");
    let stranger = Stage { access_key: "NOBODY".to_owned(), ..Stage::open().await };
    let answer = stage.send(stranger.signed(Method::GET, &target, "")).await;
    assert!(refused(&answer, 401, "IOTDA.000002").contains("otaru access-key create"));

    let mut late = stage.signed(Method::GET, &target, "");
    let hour_ago = date(stage.house.engine.wall().0 - 3_600_000);
    late.headers_mut().insert("x-sdk-date", hour_ago.parse().unwrap());
    let message = refused(&stage.send(late).await, 401, "IOTDA.000002");
    assert!(message.contains("set the clock"), "{message}");

    let bare = Request::get(&target).body(Body::empty()).unwrap();
    refused(&stage.send(bare).await, 401, "IOTDA.000002");
    let basic = Request::get(&target).header("authorization", "Basic eDp5").body(Body::empty()).unwrap();
    refused(&stage.send(basic).await, 401, "IOTDA.000002");
}

#[tokio::test]
async fn a_revoked_key_signs_nothing() {
    let stage = Stage::open().await;
    let revoked = stage.house.admin().delete(&format!("/api/v1/access-keys/{}", stage.access_key)).await;
    assert_eq!(revoked.status, 204);
    refused(&stage.get("/products").await, 401, "IOTDA.000002");
}

#[tokio::test]
async fn our_tokens_are_taken_in_either_header() {
    let stage = Stage::open().await;
    let token = stage.house.operator();
    let target = stage.path("/products");
    for (name, value) in
        [("x-auth-token", token.token().to_owned()), ("authorization", format!("Bearer {}", token.token()))]
    {
        let request = Request::get(&target).header(name, value).body(Body::empty()).unwrap();
        stage.send(request).await.ok(200);
    }
    let wrong = Request::get(&target).header("x-auth-token", "wrong").body(Body::empty()).unwrap();
    refused(&stage.send(wrong).await, 403, "IOTDA.000004");
    // A signature decides, whatever else is there.
    let mut both = stage.signed(Method::GET, &target, "");
    both.headers_mut().insert("x-auth-token", "wrong".parse().unwrap());
    stage.send(both).await.ok(200);
}

#[tokio::test]
async fn the_project_in_the_path_is_the_callers() {
    let stage = Stage::open().await;
    let other = stage.send(stage.signed(Method::GET, "/v5/iot/0123456789abcdef/products", "")).await;
    refused(&other, 403, "IOTDA.000022");
    let literal = stage.signed(Method::GET, "/v5/iot/%7Bproject_id%7D/products", "");
    // As the client writes it, and as it signs it.
    assert!(refused(&stage.send(literal).await, 403, "IOTDA.000022").contains(&stage.project));
    let mut named = stage.signed(Method::GET, &stage.path("/products"), "");
    named.headers_mut().insert("x-project-id", "another".parse().unwrap());
    refused(&stage.send(named).await, 403, "IOTDA.000022");
}

#[tokio::test]
async fn a_viewers_key_looks_and_changes_nothing() {
    let stage = Stage::open().await;
    stage.furnish(&["n1"]).await;
    let stage = stage.with_role(Role::Viewer).await;
    let shown = stage.get("/devices/pump_n1").await.ok(200);
    assert_eq!(shown["auth_info"], json!({"auth_type": "SECRET", "secure_access": false}), "no secret");
    for answer in [
        stage.post("/products", json!({})).await,
        stage.delete("/devices/pump_n1").await,
        stage.post("/batchtasks", json!({})).await,
    ] {
        assert!(refused(&answer, 403, "IOTDA.000022").contains("operator"));
    }
}

#[tokio::test]
async fn what_is_not_offered_says_so() {
    let stage = Stage::open().await;
    for (method, path) in [
        (Method::GET, "/certificates"),
        (Method::POST, "/devices/d/commands"),
        (Method::PATCH, "/products"),
        (Method::POST, "/apps"),
    ] {
        let answer = stage.call(method.clone(), path, None).await;
        assert!(refused(&answer, 404, "IOTDA.000029").contains("not offered"), "{method} {path}");
    }
    let answer = stage.send(Request::get("/v3/users").body(Body::empty()).unwrap()).await;
    refused(&answer, 404, "IOTDA.000029");
    // Elsewhere, the words are ours.
    let answer = stage.send(Request::get("/v6").body(Body::empty()).unwrap()).await;
    answer.refused(404, "path_unknown");
}

#[tokio::test]
async fn a_client_with_a_region_alone_finds_its_project() {
    let stage = Stage::open().await;
    let found = stage.send(stage.signed(Method::GET, "/v3/projects?name=cn-north-4", "")).await.ok(200);
    let projects = found["projects"].as_array().unwrap();
    assert_eq!(projects.len(), 1);
    assert_eq!((&projects[0]["id"], &projects[0]["name"]), (&json!(stage.project), &json!("cn-north-4")));
}

#[tokio::test]
async fn bodies_that_are_no_objects_are_refused() {
    let stage = Stage::open().await;
    for body in ["{", "[]", "7", "\"x\"", "{\"a\": \u{1}}"] {
        let answer = stage.send(stage.signed(Method::POST, &stage.path("/products"), body)).await;
        refused(&answer, 400, "IOTDA.000008");
    }
    let long = format!("{{\"name\": \"{}\"}}", "x".repeat(13 << 20));
    let answer = stage.send(stage.signed(Method::POST, &stage.path("/products"), &long)).await;
    refused(&answer, 413, "IOTDA.000110");
}
