use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use otaru_api::Limits;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tower::ServiceExt;

use crate::house::{Answer, Furniture, Gadget, House, campaign_when, take_moment};
use crate::sockets::{Open, read_to_end};

/// Devices in the campaigns of these tests that are read in more than one chunk.
const MANY: usize = otaru_engine::limits::RESULTS_CHUNK as usize + 1;

async fn results(house: &House, id: &str, path: &str) -> Answer {
    house.viewer().get(&format!("/api/v1/campaigns/{id}/results.{path}")).await
}

/// A campaign on two lamps, of which the second failed with these words.
async fn with_a_failure(house: &House, words: &str) -> String {
    house.furnish().await;
    let package_id = house.operator().package("lamp", "-v3", b"third").await;
    let other = house.operator().device("lamp", "2").await;
    let id = house.operator().campaign(&package_id, &["lamp_1", "lamp_2"]).await;
    let mut gadget = Gadget::connect(house, &other).await;
    gadget.told_when_running("v1").await;
    let paras = json!({"result_code": 4, "version": "v1", "description": words});
    gadget.report("upgrade_progress_report", paras).await;
    id
}

#[tokio::test]
async fn a_row_has_everything_about_a_device() {
    let house = House::open().await;
    let id = with_a_failure(&house, "3 %").await;
    let answer = results(&house, &id, "ndjson?outcome=failed").await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let mut row: Value = serde_json::from_slice(&answer.body).unwrap();
    for member in ["created_at", "updated_at"] {
        take_moment(&mut row, member);
    }
    assert_eq!(
        row,
        json!({
            "device_id": "lamp_2", "node_id": "2", "state": "finished", "outcome": "failed", "result_code": 4,
            "result": "low_battery", "description": "3 %", "version_before": "v1", "target_version": "-v3",
            "reported_version": "v1", "attempt": 1, "run": 1, "late_success": false, "unfetched_success": false,
        })
    );
}

#[tokio::test]
async fn csv_has_the_same_in_columns_and_nothing_that_is_computed() {
    let house = House::open().await;
    let id = with_a_failure(&house, "=1+1, \"quoted\"").await;
    let answer = results(&house, &id, "csv").await;
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"results-{id}.csv\""));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let mut lines: Vec<&str> = text.split_terminator("\r\n").collect();
    // Connected devices come first, and one of them may have been, or not.
    lines.sort_unstable();
    let [header, waiting, failed] = lines[..] else { panic!("{text}") };
    assert_eq!(
        header,
        "device_id,node_id,state,outcome,result_code,result,description,version_before,target_version,\
         reported_version,attempt,run,late_success,unfetched_success,created_at,updated_at"
    );
    assert!(waiting.starts_with("lamp_1,1,released,,,none,,,,,1,1,false,false,20"), "{waiting}");
    let begin =
        "lamp_2,2,finished,failed,4,low_battery,\"'=1+1, \"\"quoted\"\"\",v1,'-v3,v1,1,1,false,false,20";
    assert!(failed.starts_with(begin), "{failed}");
}

#[tokio::test]
async fn a_campaign_with_nobody_in_it_has_a_header_and_no_rows() {
    let house = House::open().await;
    let id = with_a_failure(&house, "").await;
    let none = results(&house, &id, "csv?outcome=installed").await;
    assert_eq!((none.status, none.body.iter().filter(|byte| **byte == b'\n').count()), (200, 1));
    assert_eq!(results(&house, &id, "ndjson?code=7").await.ok(200), Value::Null);
    results(&house, "0123", "csv").await.refused(404, "not_found");
    results(&house, &id, "csv?limit=5").await.refused(400, "invalid_parameter");
}

#[tokio::test]
async fn a_look_at_the_head_alone_has_no_rows() {
    let house = House::open().await;
    let id = with_a_failure(&house, "").await;
    let path = format!("/api/v1/campaigns/{id}/results.csv");
    let head = house.viewer().send(Method::HEAD, &path, &[], Body::empty()).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-type"), "text/csv; charset=utf-8; header=present");
}

/// Its id.
async fn with_many_devices(house: &House) -> String {
    let Furniture { package_id, .. } = house.furnish().await;
    for node in 2..=MANY {
        house.operator().device("lamp", &node.to_string()).await;
    }
    let campaign = json!({
        "name": "lights", "package_ids": [package_id], "devices": {"product_id": "lamp"}, "start": true,
    });
    let made = house.operator().post("/api/v1/campaigns", campaign).await.ok(201);
    let id = made["campaign_id"].as_str().unwrap().to_owned();
    campaign_when(house.viewer(), &id, |c| c["counts"]["released"] == MANY).await;
    id
}

#[tokio::test]
async fn results_are_read_while_they_are_taken() {
    let house = House::open().await;
    let id = with_many_devices(&house).await;
    let whole = results(&house, &id, "ndjson").await;
    let lines: Vec<Value> = whole
        .body
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let nodes: Vec<usize> =
        lines.iter().map(|row| row["node_id"].as_str().unwrap().parse().unwrap()).collect();
    assert_eq!(nodes, (1..=MANY).collect::<Vec<_>>(), "each device once");

    let request = Request::get(format!("/api/v1/campaigns/{id}/results.ndjson"))
        .header("Authorization", format!("Bearer {}", house.viewer().token()))
        .body(Body::empty());
    let mut body = house.router.clone().oneshot(request.unwrap()).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(!first.is_empty() && first.len() < whole.body.len());
    // The rest has not been read yet, and cannot be.
    house.faults.fail_reads_after(0);
    body.frame().await.unwrap().expect_err("the body breaks off");
    assert!(body.frame().await.is_none(), "and that is its end");
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_end_like_a_whole_one() {
    let house = House::open().await;
    let id = with_many_devices(&house).await;
    let open = Open::start(&house, Limits::default()).await;
    let request = format!(
        "GET /api/v1/campaigns/{id}/results.csv HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
        house.viewer().token()
    );
    let (mut refused, mut broken) = (0, 0);
    for reads in 0.. {
        house.faults.fail_reads_after(reads);
        let mut stream = open.plain().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        let is_whole = answer.ends_with(b"\r\n0\r\n\r\n");
        // What was not on the wire yet goes with the rest: then there is no answer at all.
        if answer.is_empty() || (answer.starts_with(b"HTTP/1.1 200") && !is_whole) {
            broken += 1;
        } else if is_whole && answer.starts_with(b"HTTP/1.1 200") {
            break;
        } else {
            assert!(answer.starts_with(b"HTTP/1.1 503"), "{}", String::from_utf8_lossy(&answer));
            refused += 1;
        }
    }
    assert!(refused > 0 && broken > 0, "{refused} refused, {broken} broken off");
}
