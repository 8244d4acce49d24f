//! What gateways are told about who their children are.
//!
//! Always true:
//! - A gateway is told of changes in their order, each message with the version it leads to: one that breaks off and
//!   asks again goes on from there.
//! - One gateway is told by one task at a time, and no faster than it listens.
//!
//! Not here: what gateways themselves say about their children (`batch::services`).

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use otaru_proto::{Answer, CHILDREN_PER_MESSAGE_MAX, encode_answer};
use otaru_store::{DeviceKey, TopologyChange};

use crate::batch::child_info;
use crate::driver::Shared;
use crate::limits::{RETRY_PAUSE, TOPOLOGY_CHUNK};
use crate::sessions::{ChildrenAfter, SessionRef};

/// Between two looks whether a gateway has heard what it was told.
const LISTEN_PAUSE: Duration = Duration::from_millis(5);

impl Shared {
    /// An operator changed who is a child of this gateway; tells it, if it is connected.
    pub(crate) fn children_changed(self: &Arc<Self>, gateway: DeviceKey, version: i64) {
        if let Some(session) = self.sessions.get(gateway) {
            self.tell_children(session, version - 1);
        }
    }

    /// Has a gateway told what changed about its children after a version.
    pub(crate) fn tell_children(self: &Arc<Self>, session: SessionRef, version: i64) {
        {
            let mut wanted = lock(&session);
            wanted.version = Some(wanted.version.map_or(version, |earlier| earlier.min(version)));
            if wanted.is_being_told {
                return;
            }
            wanted.is_being_told = true;
        }
        tokio::spawn(tell(self.clone(), session));
    }
}

/// Tells a gateway everything that is wanted, also what comes to be wanted meanwhile.
async fn tell(shared: Arc<Shared>, session: SessionRef) {
    let Ok(_turn) = shared.telling.acquire().await else { return };
    loop {
        let version = {
            let mut wanted = lock(&session);
            let version = wanted.version.take();
            wanted.is_being_told = version.is_some();
            version
        };
        let Some(version) = version else { return };
        tell_after(&shared, &session, version).await;
    }
}

async fn tell_after(shared: &Shared, session: &SessionRef, mut version: i64) {
    let is_here =
        || !shared.is_stopping() && shared.sessions.current(session.device, session.epoch).is_some();
    while is_here() {
        let topology = match shared.store.topology_after(session.device, version, TOPOLOGY_CHUNK).await {
            Ok(topology) => topology,
            Err(error) => {
                tracing::warn!(device_id = %session.device_id, %error, "a gateway's children cannot be read");
                tokio::time::sleep(RETRY_PAUSE.1).await;
                continue;
            }
        };
        let Some(last) = topology.changes.last() else { return };
        version = last.version;
        for alike in topology.changes.chunk_by(|a, b| a.came == b.came) {
            for few in alike.chunks(CHILDREN_PER_MESSAGE_MAX) {
                let answer = notice(session, few);
                let at = shared.clock.wall().0;
                session.answer(Bytes::from(encode_answer(&session.device_id, &answer, None, at)));
            }
        }
        if version >= topology.version {
            return;
        }
        while is_here() && !session.has_heard_all() {
            tokio::time::sleep(LISTEN_PAUSE).await;
        }
    }
}

/// Changes of one kind, in order, as one message.
fn notice(session: &SessionRef, changes: &[TopologyChange]) -> Answer {
    let gateway = &session.device_id;
    let version = changes.last().map_or(0, |last| last.version);
    if changes.first().is_some_and(|first| first.came) {
        let children = changes
            .iter()
            .map(|change| child_info(gateway, &change.child.row, &change.child.state))
            .collect();
        return Answer::AddedNotify { children, version };
    }
    let children = changes.iter().map(|change| {
        let row = &change.child.row;
        (row.node_id.clone(), row.device_id.to_string())
    });
    let children = children.collect();
    Answer::DeletedNotify { children, parent_device_id: gateway.to_string(), version }
}

fn lock(session: &SessionRef) -> std::sync::MutexGuard<'_, ChildrenAfter> {
    session.children_after.lock().unwrap_or_else(PoisonError::into_inner)
}
