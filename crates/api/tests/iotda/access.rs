use axum::body::Body;
use axum::http::{Method, Request};
use otaru_engine::{Role, Settings};
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
async fn how_far_a_date_may_be_from_ours_is_a_setting() {
    let hour = std::time::Duration::from_secs(3_600);
    for (within, off_secs, is_taken) in [
        (hour, 3_400, true),
        (hour, -3_400, true),
        (hour, 3_800, false),
        (hour / 60, 40, true),
        (hour / 60, -100, false),
    ] {
        let settings = Settings { signed_within: within, ..Settings::default() };
        let stage = Stage::with(settings).await;
        let at = stage.house.engine.wall().0 + off_secs * 1_000;
        let answer = stage.send(stage.signed_at(at, Method::GET, &stage.path("/products"), "")).await;
        if is_taken {
            answer.ok(200);
        } else {
            let message = refused(&answer, 401, "IOTDA.000002");
            assert!(message.contains("set the clock"), "{message}");
            assert!(message.contains(&within.as_secs().to_string()), "{message}");
        }
    }
}

#[tokio::test]
async fn a_request_that_is_sent_again_within_that_time_is_answered_again() {
    let stage = Stage::open().await;
    let (body, target) = (json!({"name": "Hall"}).to_string(), stage.path("/device-group"));
    let at = stage.house.engine.wall().0;
    let request = || stage.signed_at(at, Method::POST, &target, &body);
    stage.send(request()).await.ok(201);
    refused(&stage.send(request()).await, 400, "IOTDA.000107");
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
        (Method::POST, "/batchtask-files"),
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

/// What a client sends for a token.
fn token_body(name: &str, password: &str) -> serde_json::Value {
    json!({"auth": {
        "identity": {"methods": ["password"], "password": {"user": {
            "name": name, "password": password, "domain": {"name": "acme"},
        }}},
        "scope": {"project": {"name": "cn-north-4"}},
    }})
}

async fn ask_for_token(stage: &Stage, body: impl ToString) -> crate::house::Answer {
    let request = Request::post("/v3/auth/tokens").header("content-type", "application/json");
    stage.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn with_token(stage: &Stage, method: Method, path: &str, token: &str) -> crate::house::Answer {
    let request = Request::builder().method(method).uri(stage.path(path)).header("x-auth-token", token);
    stage.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_key_and_its_secret_get_a_token_that_is_good_in_place_of_a_signature() {
    let stage = Stage::open().await;
    let answer = ask_for_token(&stage, token_body(&stage.access_key, &stage.secret)).await;
    let token = answer.header("x-subject-token").to_owned();
    let made = &answer.ok(201)["token"];
    let project = json!({
        "id": stage.project, "name": "cn-north-4", "domain": {"id": stage.project, "name": "acme"},
    });
    assert_eq!((&made["project"], &made["catalog"]), (&project, &json!([])));
    assert_eq!((&made["methods"], &made["user"]["name"]), (&json!(["password"]), &json!(stage.access_key)));
    assert_eq!(made["roles"], json!([{"id": "0", "name": "operator"}]));
    let times = [&made["issued_at"], &made["expires_at"]].map(|time| time.as_str().unwrap().to_owned());
    assert!(times[0] < times[1] && times[1].len() == "2026-01-31T08:00:00.000000Z".len(), "{times:?}");
    with_token(&stage, Method::GET, "/products", &token).await.ok(200);
    // It may do what its key may.
    let denied = with_token(&stage, Method::DELETE, "/products/none", &token).await;
    refused(&denied, 404, "IOTDA.000104");
    let mut altered = token.clone();
    let last = if altered.pop() == Some('0') { '1' } else { '0' };
    altered.push(last);
    for wrong in [altered, token.replace(&stage.access_key, "0123"), format!("{token}.")] {
        refused(&with_token(&stage, Method::GET, "/products", &wrong).await, 403, "IOTDA.000004");
    }
    // Nowhere else.
    let native = stage.house.with_token(&token).get("/api/v1/products").await;
    assert_eq!(native.status, 401);
    let revoked = stage.house.admin().delete(&format!("/api/v1/access-keys/{}", stage.access_key)).await;
    assert_eq!(revoked.status, 204);
    let message = refused(&with_token(&stage, Method::GET, "/products", &token).await, 403, "IOTDA.000004");
    assert!(message.contains("revoked"), "{message}");
    let again = ask_for_token(&stage, token_body(&stage.access_key, &stage.secret)).await;
    refused(&again, 401, "IOTDA.000002");
}

#[tokio::test]
async fn the_token_of_a_viewers_key_looks_and_changes_nothing() {
    let stage = Stage::open().await.with_role(Role::Viewer).await;
    let answer = ask_for_token(&stage, token_body(&stage.access_key, &stage.secret)).await;
    let token = answer.header("x-subject-token").to_owned();
    assert_eq!(answer.ok(201)["token"]["roles"][0]["name"], "viewer");
    with_token(&stage, Method::GET, "/products", &token).await.ok(200);
    let answer = with_token(&stage, Method::DELETE, "/products/none", &token).await;
    refused(&answer, 403, "IOTDA.000022");
}

#[tokio::test]
async fn no_token_without_the_right_pair_and_a_form_that_is_known() {
    let stage = Stage::open().await;
    let wrong = ask_for_token(&stage, token_body(&stage.access_key, "wrong")).await;
    let unknown = ask_for_token(&stage, token_body("NOBODY", &stage.secret)).await;
    assert_eq!(refused(&wrong, 401, "IOTDA.000002"), refused(&unknown, 401, "IOTDA.000002"));
    for body in [json!({}), json!({"auth": 1}), json!({"auth": {"identity": {}}}), token_body("", "")] {
        refused(&ask_for_token(&stage, body).await, 400, "IOTDA.000006");
    }
    refused(&ask_for_token(&stage, "{").await, 400, "IOTDA.000008");
    let mut other = token_body(&stage.access_key, &stage.secret);
    other["auth"]["identity"]["methods"] = json!(["totp"]);
    refused(&ask_for_token(&stage, other).await, 400, "IOTDA.000006");
    let mut elsewhere = token_body(&stage.access_key, &stage.secret);
    elsewhere["auth"]["scope"] = json!({"project": {"id": "another"}});
    refused(&ask_for_token(&stage, elsewhere).await, 403, "IOTDA.000022");
    let long = token_body(&stage.access_key, &"x".repeat(64 * 1024));
    refused(&ask_for_token(&stage, long).await, 413, "IOTDA.000110");
}
