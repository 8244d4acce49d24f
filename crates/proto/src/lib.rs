//! Everything that can be said on the wire, as types that cannot say anything else.
