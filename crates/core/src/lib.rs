//! What the product decides, as pure functions from state and event to state and effects.
