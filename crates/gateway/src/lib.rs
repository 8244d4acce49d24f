//! MQTT: holds sessions with devices, turns bytes into events and takes messages out of the outbox.
