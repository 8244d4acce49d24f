//! The envelope that events travel in, both ways: `object_device_id` and a list of `services`.
//!
//! Source: the "Data Reporting"/"Event Delivery" structure common to all event pages.
//!
//! Always true:
//! - Of two members with the same name the last one counts.
//! - Members nobody knows are skipped, whatever they hold.
//! - Members of an event may come in any order; the Java SDK puts `paras` first.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::json::{Name, Scalar, skip_list, visit_scalars};
use crate::limits::SERVICES_MAX;

/// A message as it stands there; `P` is what is kept of `paras`.
#[derive(Default)]
pub(crate) struct Envelope<'de, P> {
    pub(crate) subject: Scalar<'de>,
    pub(crate) services: Services<'de, P>,
}

/// The member `services`.
#[derive(Default)]
pub(crate) enum Services<'de, P> {
    #[default]
    Absent,
    Null,
    List(Vec<Service<'de, P>>),
    /// One event where a list of events should be.
    Single(Service<'de, P>),
    TooMany,
    Wrong(&'static str),
}

/// One event. All absent if it was no object.
#[derive(Default)]
pub(crate) struct Service<'de, P> {
    pub(crate) service_id: Scalar<'de>,
    pub(crate) event_type: Scalar<'de>,
    pub(crate) event_time: Scalar<'de>,
    pub(crate) event_id: Scalar<'de>,
    pub(crate) paras: Paras<P>,
}

/// The member `paras`.
#[derive(Default)]
pub(crate) enum Paras<P> {
    #[default]
    Absent,
    Null,
    Object(P),
    Wrong(&'static str),
}

/// Picks the members of an object that are known.
pub(crate) trait Members<'de>: Default {
    /// Takes the value of the member `name` from `object`, or skips it. Called once for each member.
    fn take<A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error>;
}

/// Reads all members of `object`.
pub(crate) fn take_all<'de, M: Members<'de>, A: MapAccess<'de>>(mut object: A) -> Result<M, A::Error> {
    let mut members = M::default();
    while let Some(name) = object.next_key::<Name<'de>>()? {
        members.take(&name.0, &mut object)?;
    }
    Ok(members)
}

/// Skips the value of a member.
pub(crate) fn skip<'de, A: MapAccess<'de>>(object: &mut A) -> Result<(), A::Error> {
    object.next_value::<IgnoredAny>().map(|_| ())
}

impl<'de, P: Members<'de>> Members<'de> for Envelope<'de, P> {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        match name {
            "object_device_id" => self.subject = object.next_value()?,
            "services" => self.services = object.next_value()?,
            _ => skip(object)?,
        }
        Ok(())
    }
}

impl<'de, P> Service<'de, P> {
    /// Where a member belongs that is neither list nor object.
    pub(crate) fn scalar(&mut self, name: &str) -> Option<&mut Scalar<'de>> {
        Some(match name {
            "service_id" => &mut self.service_id,
            "event_type" => &mut self.event_type,
            "event_time" => &mut self.event_time,
            "event_id" => &mut self.event_id,
            _ => return None,
        })
    }
}

impl<'de, P: Members<'de>> Members<'de> for Service<'de, P> {
    fn take<A: MapAccess<'de>>(&mut self, name: &str, object: &mut A) -> Result<(), A::Error> {
        if let Some(slot) = self.scalar(name) {
            *slot = object.next_value()?;
        } else if name == "paras" {
            self.paras = object.next_value()?;
        } else {
            skip(object)?;
        }
        Ok(())
    }
}

impl<'de, P: Members<'de>> Deserialize<'de> for Envelope<'de, P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<P>(PhantomData<P>);

        impl<'de, P: Members<'de>> Visitor<'de> for Object<P> {
            type Value = Envelope<'de, P>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message of events")
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
                take_all(object)
            }
        }

        deserializer.deserialize_map(Object(PhantomData))
    }
}

impl<'de, P: Members<'de>> Deserialize<'de> for Services<'de, P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<P>(PhantomData<P>);

        impl<P> Any<P> {
            fn scalar<'de>(self, found: Scalar<'_>) -> Services<'de, P> {
                match found {
                    Scalar::Null => Services::Null,
                    Scalar::Absent
                    | Scalar::Bool(_)
                    | Scalar::Int(_)
                    | Scalar::Huge(_)
                    | Scalar::Float(_)
                    | Scalar::Text(_)
                    | Scalar::List
                    | Scalar::Object => Services::Wrong(found.kind()),
                }
            }
        }

        impl<'de, P: Members<'de>> Visitor<'de> for Any<P> {
            type Value = Services<'de, P>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of events")
            }

            visit_scalars!(Services<'de, P>);

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                // Nearly always there is exactly one.
                let mut services = Vec::with_capacity(1);
                while let Some(service) = list.next_element()? {
                    if services.len() == SERVICES_MAX {
                        skip_list(list)?;
                        return Ok(Services::TooMany);
                    }
                    services.push(service);
                }
                Ok(Services::List(services))
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
                take_all(object).map(Services::Single)
            }
        }

        deserializer.deserialize_any(Any(PhantomData))
    }
}

impl<'de, P: Members<'de>> Deserialize<'de> for Service<'de, P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<P>(PhantomData<P>);

        impl<'de, P: Members<'de>> Any<P> {
            fn scalar(self, _: Scalar<'_>) -> Service<'de, P> {
                Service::default()
            }
        }

        impl<'de, P: Members<'de>> Visitor<'de> for Any<P> {
            type Value = Service<'de, P>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            visit_scalars!(Service<'de, P>);

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                skip_list(list).map(|()| Service::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
                take_all(object)
            }
        }

        deserializer.deserialize_any(Any(PhantomData))
    }
}

impl<'de, P: Members<'de>> Deserialize<'de> for Paras<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any<P>(PhantomData<P>);

        impl<P> Any<P> {
            fn scalar(self, found: Scalar<'_>) -> Paras<P> {
                match found {
                    Scalar::Null => Paras::Null,
                    Scalar::Absent
                    | Scalar::Bool(_)
                    | Scalar::Int(_)
                    | Scalar::Huge(_)
                    | Scalar::Float(_)
                    | Scalar::Text(_)
                    | Scalar::List
                    | Scalar::Object => Paras::Wrong(found.kind()),
                }
            }
        }

        impl<'de, P: Members<'de>> Visitor<'de> for Any<P> {
            type Value = Paras<P>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the parameters of an event")
            }

            visit_scalars!(Paras<P>);

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                skip_list(list).map(|()| Paras::Wrong(Scalar::List.kind()))
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Self::Value, A::Error> {
                take_all(object).map(Paras::Object)
            }
        }

        deserializer.deserialize_any(Any(PhantomData))
    }
}
