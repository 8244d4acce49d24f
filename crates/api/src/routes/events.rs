//! `/events`: what changes, told while it does, as server-sent events.
//!
//! Always true:
//! - An event is told after what it tells of is stored.
//! - A listener that takes nothing holds one event and its place; once it has missed too much it is told `resync`.

use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::Json as Answer;
use axum::body::Body;
use axum::extract::{Extension, FromRef, FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use otaru_engine::{Engine, EventId, Heard, Listener, LiveCampaign, LiveChange, LiveEvent, Operator, limits};
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::campaigns::CountsView;
use crate::caller::{Look, May};
use crate::limits::{EVENT_CAMPAIGNS_MAX, EVENTS_COMMENT_EVERY};
use crate::openapi::words;
use crate::problem::{Code, Problem};
use crate::query::Asked;
use crate::router::Shared;
use crate::times::Moment;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::default().routes(routes!(listen)).routes(routes!(ticket))
}

/// Changes, by the loss of its sender, when the server stops: a stream that has no end of its own ends then.
#[derive(Clone)]
pub(crate) struct Closing(pub(crate) watch::Receiver<()>);

/// A campaign in an event.
#[derive(Serialize, ToSchema)]
#[schema(as = LiveCampaign)]
struct CampaignNow<'a> {
    campaign_id: &'a str,
    name: &'a str,
    #[schema(value_type = words::CampaignStateWord)]
    state: &'static str,
    #[schema(inline = false)]
    counts: CountsView,
    #[schema(required)]
    started_at: Option<Moment>,
    #[schema(required)]
    finished_at: Option<Moment>,
}

#[derive(Serialize)]
struct Deleted<'a> {
    campaign_id: &'a str,
}

#[derive(Serialize)]
struct FleetNow {
    connected: u64,
}

#[derive(Serialize)]
struct Nothing {}

/// Who listens: with a token, or with a ticket in its place.
struct Listening;

impl<S> FromRequestParts<S> for Listening
where
    S: Send + Sync,
    Engine: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Listening, Problem> {
        let asked = Asked::from_request_parts(parts, state).await?;
        let Some(shown) = asked.one("ticket")? else {
            May::<Look>::from_request_parts(parts, state).await?;
            return Ok(Listening);
        };
        // Every role may look, so that whose it was need not be asked.
        let taken: Option<Operator> = Engine::from_ref(state).take_ticket(shown);
        match taken {
            Some(_) => Ok(Listening),
            None => Err(Problem::new(
                Code::TicketInvalid,
                "this ticket was used or is too old; get another one with POST /api/v1/events/ticket",
            )),
        }
    }
}

/// Streams what changes, as server-sent events.
///
/// `ready` comes first: fetch the state after it, and then follow the events. `campaign` has a campaign's state and exact
/// counts, told at most every 300 ms for each; `campaign_deleted` its id; `fleet` how many devices are connected. A client
/// that comes again with `Last-Event-ID` hears what it missed, or `resync`, after which it fetches the state anew. A line
/// that begins with a colon comes when there is nothing to tell.
#[utoipa::path(
    get, path = "/events", tag = "events", operation_id = "listen_to_events",
    security(("token" = ["viewer"])),
    params(
        ("campaign" = Option<Vec<String>>, Query, description = "Only events about these campaigns, at most 20; without it, about all and about the fleet"),
        ("ticket" = Option<String>, Query, description = "In place of a token: from `POST /api/v1/events/ticket`"),
        ("after" = Option<String>, Query, description = "The same as `Last-Event-ID`, for whoever opens a new stream with another ticket"),
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was heard"),
    ),
    responses((
        status = 200, content_type = "text/event-stream", body = String,
        description = "Events; the `data` of each is JSON",
    )),
    extensions(("x-codes" = json!(["not_found", "ticket_invalid", "too_many_listeners"]))),
)]
async fn listen(
    State(engine): State<Engine>,
    _: Listening,
    closing: Option<Extension<Closing>>,
    asked: Asked,
    headers: axum::http::HeaderMap,
) -> Result<Response, Problem> {
    let asked = asked.only(&["campaign", "ticket", "after"])?;
    let campaigns = named(&engine, &asked).await?;
    // A browser that opens a stream again by itself sends the header, which is the later one.
    let heard_last = match headers.get("last-event-id") {
        Some(value) => Some(value.to_str().ok().and_then(EventId::parse)),
        None => asked.one("after")?.filter(|after| !after.is_empty()).map(EventId::parse),
    };
    let listener = engine.listen(campaigns, heard_last.flatten());
    let listener = listener.map_err(|full| Problem::new(Code::TooManyListeners, full.to_string()))?;
    let first = match heard_last {
        // Whoever went away and came back goes on; one whose place is not ours looks anew.
        Some(Some(_)) => None,
        Some(None) => Some(written("resync", listener.place(), &Nothing {})),
        None => Some(written("ready", listener.place(), &Nothing {})),
    };
    let closed = closing.map(|Extension(Closing(closed))| closed);
    let told = stream::unfold(Telling { listener, closed, first }, Telling::next);
    let mut response = Body::from_stream(told).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that collect answers would hold events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// A stream of events.
struct Telling {
    listener: Listener,
    closed: Option<watch::Receiver<()>>,
    /// What is told before anything that is heard.
    first: Option<Bytes>,
}

impl Telling {
    /// The next piece, once the connection asks for it; `None` at the end.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Telling)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(first), self));
        }
        let closed = self.closed.clone();
        let closing = async move {
            match closed {
                // An error says that the sender is gone, which is what is waited for; nothing is ever sent.
                Some(mut closed) => drop(closed.changed().await),
                None => std::future::pending().await,
            }
        };
        let piece = tokio::select! {
            biased;
            () = closing => return None,
            heard = self.listener.next() => match heard {
                Heard::Event(event) => event.written(write),
                Heard::Resync(id) => written("resync", id, &Nothing {}),
                Heard::End => return None,
            },
            // A comment: keeps proxies from closing, and finds out that the other end is gone.
            () = tokio::time::sleep(EVENTS_COMMENT_EVERY) => Bytes::from_static(b":\n\n"),
        };
        Some((Ok(piece), self))
    }
}

/// The campaigns that are asked for; `None`: all, and the fleet.
async fn named(engine: &Engine, asked: &Asked) -> Result<Option<BTreeSet<String>>, Problem> {
    let ids: BTreeSet<String> = asked.all("campaign").map(str::to_owned).collect();
    if ids.is_empty() {
        return Ok(None);
    }
    if ids.len() > EVENT_CAMPAIGNS_MAX {
        let message = format!(
            "`campaign` is given {} times; up to {EVENT_CAMPAIGNS_MAX} are accepted, or none for all campaigns",
            ids.len()
        );
        return Err(Problem::new(Code::InvalidParameter, message));
    }
    for id in &ids {
        if engine.campaign(id).await?.is_none() {
            return Err(Problem::not_found("campaign", id));
        }
    }
    Ok(Some(ids))
}

fn write(event: &LiveEvent) -> Bytes {
    match &event.change {
        LiveChange::Campaign(campaign) => written("campaign", event.id, &CampaignNow::of(campaign)),
        LiveChange::CampaignDeleted { campaign_id } => {
            written("campaign_deleted", event.id, &Deleted { campaign_id })
        }
        LiveChange::Fleet { connected } => written("fleet", event.id, &FleetNow { connected: *connected }),
    }
}

impl CampaignNow<'_> {
    fn of(campaign: &LiveCampaign) -> CampaignNow<'_> {
        CampaignNow {
            campaign_id: &campaign.campaign_id,
            name: &campaign.name,
            state: campaign.state.name(),
            counts: CountsView(campaign.counts.clone()),
            started_at: campaign.started_at.map(Moment),
            finished_at: campaign.finished_at.map(Moment),
        }
    }
}

/// An event as it travels.
fn written(name: &str, id: EventId, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).expect("a few members are JSON");
    format!("event: {name}\nid: {id}\ndata: {data}\n\n").into()
}

/// What opens the stream in place of a token.
#[derive(Serialize, ToSchema)]
#[schema(as = EventsTicket)]
struct Ticket {
    /// Good once.
    ticket: String,
    expires_in_secs: u64,
}

/// Makes a ticket for `GET /events`, for browsers, whose `EventSource` sends no header.
///
/// It is good for one request within 30 seconds: `GET /api/v1/events?ticket=…`. A stream that has broken off is opened again
/// with another one.
#[utoipa::path(
    post, path = "/events/ticket", tag = "events", operation_id = "create_events_ticket",
    security(("token" = ["viewer"])),
    responses((status = 201, description = "The ticket; it is shown once", body = Ticket)),
)]
async fn ticket(
    State(engine): State<Engine>,
    may: May<Look>,
) -> Result<(StatusCode, Answer<Ticket>), Problem> {
    let ticket = engine.make_ticket(&may.by)?;
    let expires_in_secs = limits::TICKET_LIFE.as_secs();
    Ok((StatusCode::CREATED, Answer(Ticket { ticket, expires_in_secs })))
}
