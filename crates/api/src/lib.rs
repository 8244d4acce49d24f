//! HTTP: turns requests into engine calls and engine answers into responses.
