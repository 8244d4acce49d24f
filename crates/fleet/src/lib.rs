//! A crowd of simulated devices over real MQTT: demo, simulate, load.
