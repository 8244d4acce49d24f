//! Decisions applied: batches, transactions, outbox, timers, artifact intake.
