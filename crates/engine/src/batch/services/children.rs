//! Gateways speak of their children: these are there, these are new, these are gone.
//!
//! Always true:
//! - A gateway changes its own children and nobody else's; what it may not, it is told by name, and nothing follows.
//! - The same request again changes nothing more and is answered in the same way.
//!
//! Not here: what a gateway is told when an operator changes its children (`topology`).

use std::collections::BTreeSet;

use otaru_core::deployment::Event;
use otaru_proto::{
    Answer, ChildInfo, ChildRequest, ChildState, ChildStatus, DeviceId, FailedChild, FailedName,
    FieldProblem, NewChild,
};
use otaru_store::{Auth, DeviceKey, DeviceRow, DeviceState, NewDevice, Registering, Registrable};

use crate::batch::Desk;
use crate::limits::{CHILDREN_TURNOVER_MAX, NODE_ID_CHARS_MAX};
use crate::sessions::SessionRef;

/// The published codes that fit.
const INVALID: &str = "IOTDA.000006";
const NOT_THERE: &str = "IOTDA.014000";
const EXISTS: &str = "IOTDA.014031";

/// What would be registered, if it could be registered at all.
pub(super) fn registering(child: &NewChild) -> Option<Registering> {
    let chars = child.node_id.chars().count();
    if chars == 0 || chars > NODE_ID_CHARS_MAX || child.product_id.is_empty() {
        return None;
    }
    let device_id = DeviceId::parse(&child.id()).ok()?;
    Some(Registering { device_id, node_id: child.node_id.clone(), product_id: child.product_id.clone() })
}

/// The answer to a request that cannot be read.
pub(super) fn refused(request: ChildRequest, problem: &FieldProblem) -> Answer {
    let who = match request {
        ChildRequest::Add => FailedName::Node { node_id: String::new(), product_id: String::new() },
        ChildRequest::UpdateStatus | ChildRequest::Delete => FailedName::Device(String::new()),
    };
    let failed = vec![FailedChild { who, error_code: INVALID, error_msg: problem.to_string() }];
    match request {
        ChildRequest::UpdateStatus => Answer::StatusesUpdated { done: Vec::new(), failed },
        ChildRequest::Add => Answer::ChildrenAdded { done: Vec::new(), failed },
        ChildRequest::Delete => Answer::ChildrenDeleted { done: Vec::new(), failed },
    }
}

/// A child as its gateway is told of it.
pub(crate) fn info(gateway: &DeviceId, row: &DeviceRow, state: &DeviceState) -> ChildInfo {
    ChildInfo {
        parent_device_id: gateway.to_string(),
        node_id: row.node_id.clone(),
        device_id: row.device_id.to_string(),
        name: row.name.clone(),
        product_id: row.product_id.clone(),
        fw_version: state.firmware_version.clone(),
        sw_version: state.software_version.clone(),
        status: match state.there {
            Some(true) => ChildState::Online,
            Some(false) => ChildState::Offline,
            None => ChildState::Inactive,
        },
    }
}

/// A child that is being registered.
fn new_info(gateway: &DeviceId, device: &NewDevice) -> ChildInfo {
    ChildInfo {
        parent_device_id: gateway.to_string(),
        node_id: device.node_id.clone(),
        device_id: device.device_id.to_string(),
        name: device.name.clone(),
        product_id: device.product_id.clone(),
        fw_version: None,
        sw_version: None,
        status: ChildState::Inactive,
    }
}

impl Desk<'_> {
    // --- These are there, and these are not ---------------------------------------------------------------------

    pub(super) fn update_statuses(&mut self, session: &SessionRef, statuses: &[ChildStatus]) -> Answer {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for ChildStatus { device_id, online } in statuses {
            let found = self.child_of(session.device, device_id);
            match (found, online) {
                (Some((key, _)), Ok(online)) => {
                    self.note_there(key, *online);
                    done.push((device_id.clone(), *online));
                }
                (Some(_), Err(status)) => {
                    let error_msg = format!("`status` is {status:?}; ONLINE and OFFLINE are accepted");
                    failed.push(failed_device(device_id, INVALID, error_msg));
                }
                (None, _) => failed.push(self.no_child(&session.device_id, device_id)),
            }
        }
        Answer::StatusesUpdated { done, failed }
    }

    /// Notes whether a child is there, and what follows for its deployments.
    pub(in crate::batch) fn note_there(&mut self, child: DeviceKey, there: bool) {
        let Some(folder) = self.folders.get_mut(&child) else { return };
        if folder.view.state.there == Some(there) {
            return;
        }
        folder.view.state.there = Some(there);
        folder.state_changed = true;
        let before = folder.reach;
        folder.reach = self.around.sessions.reach(&folder.view.row, &folder.view.state);
        let (after, rows) = (folder.reach, folder.rows.len());
        if before == after {
            return;
        }
        folder.consider = true;
        let event = match after {
            Some(reach) => Event::Reconnected { epoch: reach.epoch },
            None => Event::LinkLost,
        };
        for index in 0..rows {
            self.apply(child, index, event);
        }
    }

    // --- These are new ------------------------------------------------------------------------------------------

    pub(super) fn add_children(&mut self, session: &SessionRef, children: &[NewChild]) -> Answer {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for child in children {
            match self.add_child(session, child) {
                Ok(info) => done.push(info),
                Err((error_code, error_msg)) => {
                    let who = FailedName::Node {
                        node_id: child.node_id.clone(),
                        product_id: child.product_id.clone(),
                    };
                    failed.push(FailedChild { who, error_code, error_msg });
                }
            }
        }
        Answer::ChildrenAdded { done, failed }
    }

    fn add_child(
        &mut self,
        session: &SessionRef,
        child: &NewChild,
    ) -> Result<ChildInfo, (&'static str, String)> {
        let gateway_id = &session.device_id;
        let Some(gateway) = self.folders.get(&session.device) else {
            return Err((NOT_THERE, "the gateway is not registered any more".to_owned()));
        };
        if let Some(parent) = &child.parent_device_id
            && parent != gateway_id.as_str()
        {
            let problem = format!("`parent_device_id` is {parent:?}; only {gateway_id} itself is accepted");
            return Err((INVALID, problem));
        }
        if gateway.view.row.gateway.is_some() {
            return Err((INVALID, format!("{gateway_id} is itself a child; children hang on a gateway")));
        }
        let Some(asked) = registering(child) else {
            let problem = format!(
                "`node_id` is {:?} and `product_id` {:?}; a node id of 1 to {NODE_ID_CHARS_MAX} characters and a product \
                 are needed, and an id of A-Z a-z 0-9 _ - that is made of both or given as `device_id`",
                child.node_id, child.product_id
            );
            return Err((INVALID, problem));
        };
        if let Some((_, known)) = self.child_of(session.device, asked.device_id.as_str())
            && known.row.node_id == asked.node_id
            && known.row.product_id == asked.product_id
        {
            return Ok(info(gateway_id, &known.row, &known.state));
        }
        if let Some(gone) = self.by_id.get(&asked.device_id).and_then(|key| self.gone.get(key)) {
            let problem = if gone.view.row.gateway == Some(session.device) {
                format!("{} is deleted by this message; register it in the next one", asked.device_id)
            } else {
                format!("{} is being deleted at this moment; register it again", asked.device_id)
            };
            return Err((EXISTS, problem));
        }
        if let Some(same) = self.registered_now(gateway_id, asked.device_id.as_str())
            && same.node_id == asked.node_id
            && same.product_id == asked.product_id
        {
            return Ok(new_info(gateway_id, same));
        }
        let is_new = |(_, device): &(String, NewDevice)| {
            device.device_id != asked.device_id
                && (device.product_id != asked.product_id || device.node_id != asked.node_id)
        };
        if self.by_id.contains_key(&asked.device_id) || !self.changes.registered.iter().all(is_new) {
            let problem = format!("device {} is registered already, and not as this child", asked.device_id);
            return Err((EXISTS, problem));
        }
        match self.registrable.get(&asked) {
            Some(Registrable::Free) => {}
            Some(Registrable::NodeTaken) => {
                let problem = format!("product {} has a device {} already", asked.product_id, asked.node_id);
                return Err((EXISTS, problem));
            }
            Some(Registrable::NoProduct) | None => {
                return Err((INVALID, format!("there is no product {}", asked.product_id)));
            }
        }
        let more = self.changes.registered.iter().filter(|(by, _)| by == gateway_id.as_str()).count();
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        let most = self.around.settings.children_max;
        if gateway.view.children.saturating_add(more) >= most {
            let problem = match most {
                0 => "gateways register no children here; an operator does".to_owned(),
                _ => format!("a gateway registers at most {most} children; an operator may register more"),
            };
            return Err((INVALID, problem));
        }
        let turnover = most.saturating_mul(CHILDREN_TURNOVER_MAX);
        if gateway.view.topology.saturating_add(more) >= turnover {
            let problem = format!(
                "children of this gateway came and went {turnover} times; from now on an operator registers them"
            );
            return Err((INVALID, problem));
        }
        let device = NewDevice {
            device_id: asked.device_id,
            node_id: asked.node_id,
            product_id: asked.product_id,
            gateway_id: Some(gateway_id.clone()),
            name: child.name.clone(),
            tags: Default::default(),
            // It never connects by itself.
            sealed_secret: None,
            auth: Auth::Secret,
            fingerprint: None,
        };
        let info = new_info(gateway_id, &device);
        self.changes.registered.push((gateway_id.to_string(), device));
        Ok(info)
    }

    // --- These are gone -----------------------------------------------------------------------------------------

    pub(super) fn delete_children(&mut self, session: &SessionRef, ids: &[String]) -> Answer {
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for id in ids.iter().collect::<BTreeSet<_>>() {
            let Some((key, child)) = self.child_of(session.device, id) else {
                failed.push(self.no_child(&session.device_id, id));
                continue;
            };
            for index in 0..child.rows {
                self.apply(key, index, Event::Removed);
            }
            self.changes.deleted.push((session.device_id.to_string(), child.row.device_id.clone()));
            self.answer.deleted.push(key);
            // For the rest of the batch it is not there any more.
            self.gone.extend(self.folders.remove_entry(&key));
            done.push(id.clone());
        }
        Answer::ChildrenDeleted { done, failed }
    }

    // --- Whose child --------------------------------------------------------------------------------------------

    /// The child of `gateway` with this id.
    pub(super) fn child_of(&self, gateway: DeviceKey, id: &str) -> Option<(DeviceKey, Child)> {
        let key = *self.by_id.get(&DeviceId::parse(id).ok()?)?;
        let folder = self.folders.get(&key).filter(|folder| folder.view.row.gateway == Some(gateway))?;
        let child =
            Child { row: folder.view.row.clone(), state: folder.view.state.clone(), rows: folder.rows.len() };
        Some((key, child))
    }

    /// What this gateway registers in this batch, which is in this message, under an id.
    fn registered_now(&self, gateway: &DeviceId, device_id: &str) -> Option<&NewDevice> {
        let mut new = self.changes.registered.iter().filter(|(by, _)| by == gateway.as_str());
        new.find(|(_, device)| device.device_id.as_str() == device_id).map(|(_, device)| device)
    }

    fn no_child(&self, gateway: &DeviceId, device_id: &str) -> FailedChild {
        if self.registered_now(gateway, device_id).is_some() {
            let problem = format!("{device_id} is registered by this message; say this in the next one");
            return failed_device(device_id, INVALID, problem);
        }
        // Of a device that is somebody else's it says no more than of one that is not there.
        failed_device(
            device_id,
            NOT_THERE,
            "The device does not exist, or is no child of this gateway.".to_owned(),
        )
    }
}

/// A child on the desk.
pub(super) struct Child {
    row: std::sync::Arc<DeviceRow>,
    state: DeviceState,
    rows: usize,
}

fn failed_device(device_id: &str, error_code: &'static str, error_msg: String) -> FailedChild {
    FailedChild { who: FailedName::Device(device_id.to_owned()), error_code, error_msg }
}
