//! What is remembered: a narrow set of domain-shaped operations on SQLite or in memory.
