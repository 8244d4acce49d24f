use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::house::{Gadget, House, JSON, eventually, take_moment, text};

#[tokio::test]
async fn a_device_gets_an_id_from_product_and_node_and_a_secret_that_is_shown_once() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let mut made = house
        .operator()
        .post("/api/v1/devices", json!({"product_id": "lamp", "node_id": "1", "tags": {"site": "berlin"}}))
        .await
        .ok(201);
    let secret = made.as_object_mut().unwrap().remove("secret").unwrap();
    assert!(text(&secret).len() >= 8);
    assert_eq!(house.viewer().get("/api/v1/devices/lamp_1").await.ok(200), made);
    take_moment(&mut made, "created_at");
    assert_eq!(
        made,
        json!({
            "device_id": "lamp_1", "node_id": "1", "product_id": "lamp", "gateway_id": null, "group_ids": [], "name": null,
            "tags": {"site": "berlin"}, "auth": "secret", "fingerprint": null, "frozen": false, "online": false, "firmware_version": null,
            "software_version": null, "last_report": null, "last_report_at": null, "connected_at": null,
        })
    );
}

#[tokio::test]
async fn id_and_secret_may_be_brought_along() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let device =
        json!({"device_id": "own-id", "node_id": "1", "product_id": "lamp", "secret": "s3cr3t-s3cr3t"});
    let made = house.operator().post("/api/v1/devices", device).await.ok(201);
    assert_eq!(made["device_id"], "own-id");
    assert_eq!(made["secret"], "s3cr3t-s3cr3t");
}

#[tokio::test]
async fn what_a_device_reports_is_shown() {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let mut gadget = Gadget::connect(&house, &lamp).await;
    gadget.runs("v1").await;
    let mut device = house.viewer().get("/api/v1/devices/lamp_1").await.ok(200);
    assert_eq!(device["online"], true);
    assert_eq!(device["firmware_version"], "v1");
    let report = &mut device["last_report"];
    take_moment(report, "received_at");
    assert!(text(&report["payload"]).contains("version_report"));
    let listed = house.viewer().get("/api/v1/devices").await.ok(200);
    assert_eq!(
        listed["items"][0]["last_report"]["payload"], device["last_report"]["payload"],
        "as in the list"
    );
    drop(gadget);
    eventually(async || {
        let device = house.viewer().get("/api/v1/devices/lamp_1").await.ok(200);
        (device["online"] == false).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_change_touches_only_what_is_named() {
    let house = House::open().await;
    let path = "/api/v1/devices/lamp_1";
    house.furnish().await;
    let named = house.operator().patch(path, json!({"name": "hall", "tags": {"floor": "2"}})).await.ok(200);
    assert_eq!((&named["name"], &named["tags"]), (&json!("hall"), &json!({"floor": "2"})));
    let frozen = house.operator().patch(path, json!({"frozen": true})).await.ok(200);
    assert_eq!((&frozen["frozen"], &frozen["name"]), (&json!(true), &json!("hall")));
    let unnamed = house.operator().patch(path, json!({"name": null})).await.ok(200);
    assert_eq!((&unnamed["name"], &unnamed["tags"]), (&Value::Null, &json!({"floor": "2"})));
    let nothing = house.operator().patch(path, json!({})).await.ok(200);
    assert_eq!(nothing, unnamed);
    assert_eq!(house.viewer().get(path).await.ok(200), nothing);
}

#[tokio::test]
async fn a_new_secret_is_not_shown_again() {
    let house = House::open().await;
    house.furnish().await;
    let changed = house.operator().patch("/api/v1/devices/lamp_1", json!({"secret": "another-secret"})).await;
    assert!(!changed.ok(200).to_string().contains("another-secret"));
    let lamp = crate::house::Registered { device_id: "lamp_1".into(), secret: "another-secret".into() };
    Gadget::connect(&house, &lamp).await;
}

#[tokio::test]
async fn a_device_with_a_certificate_has_no_secret_and_its_fingerprint_can_be_changed() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    let (path, [sha1, sha256]) = ("/api/v1/devices/lamp_1", [20, 32].map(|bytes| "ab".repeat(bytes)));
    let copied = vec!["AB"; 32].join(":");
    let device = json!({"product_id": "lamp", "node_id": "1", "auth": "x509", "fingerprint": copied});
    let made = house.operator().post("/api/v1/devices", device).await.ok(201);
    assert_eq!((&made["auth"], &made["fingerprint"]), (&json!("x509"), &json!(sha256)));
    assert!(!made.as_object().unwrap().contains_key("secret"), "{made}");
    assert_eq!(house.viewer().get(path).await.ok(200), made);
    for fingerprint in [json!(sha1), Value::Null, json!(sha256)] {
        let changed = house.operator().patch(path, json!({"fingerprint": fingerprint})).await.ok(200);
        assert_eq!((&changed["auth"], &changed["fingerprint"]), (&json!("x509"), &fingerprint));
    }
    let named = house.operator().patch(path, json!({"name": "hall"})).await.ok(200);
    assert_eq!(named["fingerprint"], json!(sha256), "what is not named stays");
    let message = house.operator().patch(path, json!({"fingerprint": ""})).await.refused(400, "invalid");
    assert!(message.contains("`fingerprint` is not accepted: \"\" is no fingerprint"), "{message}");
    let message =
        house.operator().patch(path, json!({"secret": "s3cr3t-s3cr3t"})).await.refused(400, "invalid");
    assert!(message.contains("`secret` is not accepted for a device with `auth` \"x509\""), "{message}");
    assert_eq!(house.viewer().get(path).await.ok(200), named);

    let without = json!({"product_id": "lamp", "node_id": "2", "auth": "x509"});
    assert_eq!(house.operator().post("/api/v1/devices", without).await.ok(201)["fingerprint"], Value::Null);
    house.operator().device("lamp", "3").await;
    let message = house.operator().patch("/api/v1/devices/lamp_3", json!({"fingerprint": sha256})).await;
    let message = message.refused(400, "invalid");
    assert!(message.contains("with `auth` \"secret\""), "{message}");
    house
        .operator()
        .patch("/api/v1/devices/nobody", json!({"fingerprint": sha256}))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn a_deleted_device_is_gone_and_its_id_is_free() {
    let house = House::open().await;
    house.furnish().await;
    house.operator().delete("/api/v1/devices/lamp_1").await.ok(204);
    house.viewer().get("/api/v1/devices/lamp_1").await.refused(404, "not_found");
    house.operator().delete("/api/v1/devices/lamp_1").await.refused(404, "not_found");
    house.operator().device("lamp", "1").await;
}

#[tokio::test]
async fn an_id_or_node_that_is_taken_is_a_conflict() {
    let house = House::open().await;
    house.furnish().await;
    let same_node = json!({"device_id": "other", "node_id": "1", "product_id": "lamp"});
    house.operator().post("/api/v1/devices", same_node).await.refused(409, "exists_already");
    let same_id = json!({"device_id": "lamp_1", "node_id": "2", "product_id": "lamp"});
    house.operator().post("/api/v1/devices", same_id).await.refused(409, "exists_already");
}

#[tokio::test]
async fn what_cannot_be_a_device_is_refused_and_named() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    for (change, code, named) in [
        (json!({"device_id": "with blank"}), "invalid_id", "`device_id`"),
        (json!({"device_id": ""}), "invalid_id", "`device_id`"),
        (json!({"node_id": "sl/ash"}), "invalid_id", "`node_id`"),
        (json!({"node_id": ""}), "invalid", "`node_id`"),
        (json!({"secret": ""}), "invalid", "`secret`"),
        (json!({"auth": "psk"}), "invalid_member", "unknown variant `psk`, expected `secret` or `x509`"),
        (
            json!({"auth": "x509", "secret": "s3cr3t-s3cr3t"}),
            "invalid",
            "`secret` is not accepted for a device with `auth` \"x509\"",
        ),
        (
            json!({"auth": "x509", "fingerprint": "ab:c"}),
            "invalid",
            "`fingerprint` is not accepted: \"ab:c\" is no fingerprint",
        ),
        (
            json!({"auth": "x509", "fingerprint": "ab:c"}),
            "invalid",
            "64 hex digits is accepted, or the SHA-1 as 40",
        ),
        (
            json!({"fingerprint": "ab".repeat(32)}),
            "invalid",
            "`fingerprint` is not accepted for a device with `auth` \"secret\"",
        ),
        (json!({"tags": {"": "x"}}), "invalid", "`tags`"),
        (json!({"name": "x".repeat(257)}), "invalid", "`name`"),
        (json!({"product_id": "nobody"}), "unknown_product", "nobody"),
        (json!({"gateway_id": "nobody"}), "unknown_gateway", "nobody"),
        (json!({"gateway_id": "with blank"}), "invalid_id", "`gateway_id`"),
    ] {
        let mut device = json!({"node_id": "1", "product_id": "lamp"});
        device.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let message = house.operator().post("/api/v1/devices", device).await.refused(400, code);
        assert!(message.contains(named), "{change} gave {message}");
    }
    assert_eq!(house.viewer().get("/api/v1/devices").await.ok(200)["items"], json!([]));
}

#[tokio::test]
async fn a_child_names_its_gateway_and_there_are_two_levels() {
    let house = House::open().await;
    let operator = house.operator();
    operator.product("lamp").await;
    operator.device("lamp", "hub").await;
    let child = json!({"node_id": "leaf", "product_id": "lamp", "gateway_id": "lamp_hub"});
    assert_eq!(operator.post("/api/v1/devices", child).await.ok(201)["gateway_id"], "lamp_hub");
    let grandchild = json!({"node_id": "twig", "product_id": "lamp", "gateway_id": "lamp_leaf"});
    let refused = operator.post("/api/v1/devices", grandchild).await;
    assert!(text(&refused.ok(400)["message"]).contains("name lamp_hub instead"), "{refused:?}");
    operator.delete("/api/v1/devices/lamp_hub").await.refused(409, "in_use");
}

#[tokio::test]
async fn lists_can_be_narrowed() {
    let house = House::open().await;
    let operator = house.operator();
    for product in ["lamp", "door"] {
        operator.product(product).await;
    }
    operator.device("lamp", "hub").await;
    for (product, node, more) in [
        ("lamp", "1", json!({"tags": {"site": "berlin", "floor": "1"}})),
        ("lamp", "2", json!({"tags": {"site": "berlin"}, "gateway_id": "lamp_hub"})),
        ("door", "1", json!({"tags": {"site": "a:b"}})),
    ] {
        let mut device = json!({"node_id": node, "product_id": product});
        device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        operator.post("/api/v1/devices", device).await.ok(201);
    }
    for (query, wanted) in [
        ("", vec!["lamp_hub", "lamp_1", "lamp_2", "door_1"]),
        ("?product_id=lamp", vec!["lamp_hub", "lamp_1", "lamp_2"]),
        ("?product_id=nobody", vec![]),
        ("?tag=site:berlin", vec!["lamp_1", "lamp_2"]),
        ("?tag=site:berlin&tag=floor:1", vec!["lamp_1"]),
        ("?tag=site:a:b", vec!["door_1"]),
        ("?gateway_id=lamp_hub", vec!["lamp_2"]),
        ("?gateway_id=nobody", vec![]),
    ] {
        assert_eq!(
            ids(&house.viewer().get(&format!("/api/v1/devices{query}")).await.ok(200)),
            wanted,
            "{query}"
        );
    }
    for query in ["?tag=site", "?gateway_id=with%20blank"] {
        house.viewer().get(&format!("/api/v1/devices{query}")).await.refused(400, "invalid_parameter");
    }
}

#[tokio::test]
async fn a_full_page_of_a_thousand_has_a_next_one() {
    let house = House::open().await;
    house.operator().product("lamp").await;
    for node in 0..1001 {
        house.operator().device("lamp", &node.to_string()).await;
    }
    let first = house.viewer().get("/api/v1/devices?limit=1000").await.ok(200);
    let cursor = text(&first["next_cursor"]);
    let second = house.viewer().get(&format!("/api/v1/devices?limit=1000&cursor={cursor}")).await.ok(200);
    assert_eq!((ids(&first).len(), ids(&second).len(), &second["next_cursor"]), (1000, 1, &Value::Null));
    let all: BTreeSet<_> = ids(&first).into_iter().chain(ids(&second)).collect();
    assert_eq!(all.len(), 1001);
}

#[tokio::test]
async fn a_change_with_an_unknown_member_changes_nothing() {
    let house = House::open().await;
    house.furnish().await;
    let body = Body::from(r#"{"name": "hall", "node_id": "9"}"#);
    let refused = house.operator().send(Method::PATCH, "/api/v1/devices/lamp_1", &JSON, body).await;
    assert!(refused.refused(400, "invalid_member").contains("`node_id`"));
    assert_eq!(house.viewer().get("/api/v1/devices/lamp_1").await.ok(200)["name"], Value::Null);
    house.operator().patch("/api/v1/devices/nobody", json!({"name": "x"})).await.refused(404, "not_found");
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|device| device["device_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_device_is_frozen_and_unfrozen_and_its_session_ends() {
    let house = House::open().await;
    let lamp = house.furnish().await.device;
    let mut gadget = Gadget::connect(&house, &lamp).await;
    house.viewer().post("/api/v1/devices/lamp_1/freeze", json!({})).await.refused(403, "role_too_low");
    for _ in 0..2 {
        let frozen = house.operator().post("/api/v1/devices/lamp_1/freeze", json!({})).await.ok(200);
        assert_eq!(frozen["frozen"], true);
    }
    gadget.is_closed().await;
    drop(gadget);
    assert!(Gadget::try_to_connect(&house, &lamp).await.is_err());
    let listed = house.viewer().get("/api/v1/refused-connections").await.ok(200);
    assert_eq!(
        (&listed["items"][0]["name"], &listed["items"][0]["code"]),
        (&json!("lamp_1"), &json!("frozen"))
    );
    for _ in 0..2 {
        let free = house.operator().post("/api/v1/devices/lamp_1/unfreeze", json!({})).await.ok(200);
        assert_eq!(free["frozen"], false);
    }
    Gadget::connect(&house, &lamp).await;
    house.operator().post("/api/v1/devices/lamp_9/freeze", json!({})).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_new_secret_is_shown_once_and_the_old_one_is_worth_nothing() {
    let house = House::open().await;
    let mut lamp = house.furnish().await.device;
    let mut gadget = Gadget::connect(&house, &lamp).await;
    let made = house.operator().post("/api/v1/devices/lamp_1/reset-secret", json!({})).await.ok(200);
    assert_eq!(made["device_id"], "lamp_1");
    let secret = text(&made["secret"]);
    assert_eq!(secret.len(), 32);
    gadget.is_closed().await;
    drop(gadget);
    assert!(Gadget::try_to_connect(&house, &lamp).await.is_err());
    lamp.secret = secret;
    Gadget::connect(&house, &lamp).await;
    house.operator().post("/api/v1/devices/lamp_9/reset-secret", json!({})).await.refused(404, "not_found");
    let wanted = json!({"secret": "one-of-my-own"});
    let refused = house.operator().post("/api/v1/devices/lamp_1/reset-secret", wanted).await;
    assert!(refused.refused(400, "invalid_member").contains("secret"), "it would have got another one");
    let device = json!({"product_id": "lamp", "node_id": "x", "auth": "x509"});
    house.operator().post("/api/v1/devices", device).await.ok(201);
    let refused = house.operator().post("/api/v1/devices/lamp_x/reset-secret", json!({})).await;
    assert!(refused.refused(400, "invalid").contains("secret"));
}
