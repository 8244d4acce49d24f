//! The platform on a virtual clock: one life of it, from its start to its stop or its violent end.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use otaru_core::{Epoch, WallTime};
use otaru_engine::{
    Channel, Clock, ConnectRequest, Delivery, Engine, Session, Settings, Uplink, UplinkReading,
};
use otaru_proto::{ClientId, DeviceId, Stamp, decode_uplink, device_password};
use otaru_store::{BlobStore, Store, Vault};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

/// What every device proves itself with.
pub(crate) const SECRET: &str = "a secret of a device";

/// When it all begins: a day in November, in milliseconds.
const BEGIN: i64 = 1_764_115_200_000;

/// The clock of a life.
pub(crate) struct LifeClock {
    born: Instant,
    /// How much time had passed by then.
    before: Duration,
    /// By how much the wall clock has jumped.
    jumped: Arc<AtomicI64>,
}

impl LifeClock {
    pub(crate) fn starting_at(before: Duration, jumped: Arc<AtomicI64>) -> LifeClock {
        LifeClock { born: Instant::now(), before, jumped }
    }

    /// Milliseconds since the beginning of the play.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// When the runtime's clock shows this moment.
    pub(crate) fn instant_of(&self, millis: u64) -> Instant {
        self.born + Duration::from_millis(millis).saturating_sub(self.before)
    }
}

impl Clock for LifeClock {
    fn wall(&self) -> WallTime {
        let passed = i64::try_from(self.elapsed().as_millis()).unwrap_or(i64::MAX);
        WallTime(BEGIN + passed + self.jumped.load(Ordering::Relaxed))
    }

    fn elapsed(&self) -> Duration {
        self.before + self.born.elapsed()
    }
}

/// Opens the platform on what is stored.
pub(crate) async fn open(store: &Store, blobs: &BlobStore, clock: &Arc<LifeClock>) -> Result<Engine, String> {
    let settings = Settings {
        settle: Duration::from_millis(500),
        reconnect_grace: Duration::from_secs(30),
        outage_patience: Duration::from_secs(20),
        disk_reserve_bytes: 0,
        ..Settings::default()
    };
    let engine =
        Engine::open(settings, store.clone(), blobs.clone(), Vault::for_tests(), clock.clone()).await;
    engine.map_err(|error| error.to_string())
}

/// One link of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LinkId(pub(crate) u64);

/// What came of a link.
#[derive(Debug)]
pub(crate) enum Mail {
    /// CONNECT was accepted.
    Up(Epoch),
    /// It was not.
    Refused(String),
    Acknowledged(u16),
    Said(bytes::Bytes),
    Closed,
}

/// What came of all links, in order.
#[derive(Default)]
pub(crate) struct Mailbox {
    mail: Mutex<Vec<(LinkId, Mail)>>,
    arrived: Notify,
}

impl Mailbox {
    fn put(&self, link: LinkId, mail: Mail) {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner).push((link, mail));
        self.arrived.notify_one();
    }

    pub(crate) fn take(&self) -> Vec<(LinkId, Mail)> {
        std::mem::take(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// What a device publishes on a link: ticket and payload. The end of it is the end of the link.
pub(crate) type Uplinks = mpsc::UnboundedSender<(u16, Vec<u8>)>;

/// Connects a device, and holds the link until `Uplinks` is dropped.
pub(crate) fn connect(engine: &Engine, id: DeviceId, link: LinkId, mailbox: &Arc<Mailbox>) -> Uplinks {
    let (uplinks, published) = mpsc::unbounded_channel();
    tokio::spawn(hold(engine.clone(), id, link, Arc::clone(mailbox), published));
    uplinks
}

async fn hold(
    engine: Engine,
    id: DeviceId,
    link: LinkId,
    mailbox: Arc<Mailbox>,
    mut published: mpsc::UnboundedReceiver<(u16, Vec<u8>)>,
) {
    let stamp = Stamp::from_unix_secs(BEGIN / 1_000);
    let client_id = ClientId { device: id.clone(), id_type: 0, sign_type: 0, stamp }.to_string();
    let password = device_password(SECRET.as_bytes(), &stamp);
    let request = ConnectRequest {
        client_id: &client_id,
        username: Some(id.as_str()),
        password: Some(password.as_bytes()),
        peer: std::net::SocketAddr::from(([127, 0, 0, 1], 1)),
        channel: Channel::Plain,
        protocol: "simulated",
    };
    let mut session: Session = match engine.connect(request).await {
        Ok(session) => session,
        Err(refusal) => return mailbox.put(link, Mail::Refused(refusal.to_string())),
    };
    mailbox.put(link, Mail::Up(session.epoch()));
    let mut deliveries = Vec::new();
    loop {
        tokio::select! {
            biased;
            said = published.recv() => match said {
                Some((ticket, payload)) => {
                    let reading = UplinkReading::Event(decode_uplink(&payload));
                    session.submit(vec![Uplink { ticket: Some(ticket), payload: payload.into(), reading }]);
                }
                None => return,
            },
            () = session.deliveries(&mut deliveries) => {
                for delivery in deliveries.drain(..) {
                    match delivery {
                        Delivery::Acknowledge(ticket) => mailbox.put(link, Mail::Acknowledged(ticket)),
                        Delivery::Say { line, payload, .. } => {
                            session.said(line);
                            mailbox.put(link, Mail::Said(payload));
                        }
                        Delivery::Answer { .. } => {}
                        Delivery::TakenOver | Delivery::Close { .. } => {
                            return mailbox.put(link, Mail::Closed);
                        }
                    }
                }
            }
        }
    }
}
