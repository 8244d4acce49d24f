//! Why a session ended, and what an MQTT 5 device is told of it.

use mqtt_protocol_core::mqtt::result_code::{DisconnectReasonCode, MqttError};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The device said goodbye.
    Disconnected,
    /// The device closed the connection without a word, or its network did.
    Lost,
    /// The device has been silent for too long.
    Silent,
    /// A newer session of the device exists.
    TakenOver,
    /// The engine wants it closed.
    Engine(&'static str),
    /// This endpoint shuts down.
    Shutdown,
    /// The device does not read what is written to it.
    Unread,
    /// The device lets too many downlinks wait for its acknowledgements.
    Unacknowledged,
    /// QoS 2.
    Qos,
    /// A packet over the size limit.
    TooLarge,
    /// A packet that MQTT does not permit, here or now.
    Protocol(MqttError),
    /// The engine acknowledged what is not next in line. Ours to fix.
    AcknowledgedOutOfOrder,
}

impl Closing {
    /// For metrics and logs.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Closing::Disconnected => "disconnected",
            Closing::Lost => "lost",
            Closing::Silent => "silent",
            Closing::TakenOver => "taken_over",
            Closing::Engine(reason) => reason,
            Closing::Shutdown => "shutdown",
            Closing::Unread => "unread",
            Closing::Unacknowledged => "unacknowledged",
            Closing::Qos => "qos",
            Closing::TooLarge => "too_large",
            Closing::Protocol(_) => "protocol",
            Closing::AcknowledgedOutOfOrder => "acknowledged_out_of_order",
        }
    }

    /// What an MQTT 5 device is told; `None` if there is nobody left to tell.
    pub(crate) fn reason_code(self) -> Option<DisconnectReasonCode> {
        match self {
            Closing::Disconnected | Closing::Lost | Closing::Unread => None,
            Closing::Silent => Some(DisconnectReasonCode::KeepAliveTimeout),
            Closing::TakenOver => Some(DisconnectReasonCode::SessionTakenOver),
            Closing::Engine("store_unavailable") => Some(DisconnectReasonCode::ServerBusy),
            Closing::Engine("server_shutting_down") => Some(DisconnectReasonCode::ServerShuttingDown),
            // Frozen, deleted, a new secret: an operator's doing.
            Closing::Engine(_) => Some(DisconnectReasonCode::AdministrativeAction),
            Closing::Shutdown => Some(DisconnectReasonCode::ServerShuttingDown),
            Closing::Unacknowledged => Some(DisconnectReasonCode::QuotaExceeded),
            Closing::Qos => Some(DisconnectReasonCode::QosNotSupported),
            Closing::TooLarge => Some(DisconnectReasonCode::PacketTooLarge),
            Closing::Protocol(error) => Some(error.into()),
            Closing::AcknowledgedOutOfOrder => Some(DisconnectReasonCode::ImplementationSpecificError),
        }
    }
}
