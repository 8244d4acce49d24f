//! What devices are listed and searched by, as applications do it.

use std::ops::Range;

use otaru_core::WallTime;
use otaru_proto::DeviceId;

use super::{DeviceKey, SpaceKey, Spaces};

/// Which devices of a list that has the newest first are wanted; everything given must hold.
#[derive(Clone, Debug, Default)]
pub struct NewestDevices {
    /// Only of this product, by public id.
    pub product_id: Option<String>,
    /// Only children of this gateway.
    pub gateway_id: Option<DeviceId>,
    /// Only members of this group.
    pub group_id: Option<String>,
    /// Only with this number of the maker's.
    pub node_id: Option<String>,
    /// Only with this in their name.
    pub name_part: Option<String>,
    /// Only registered at this time or later.
    pub from: Option<WallTime>,
    /// Only registered before this time.
    pub until: Option<WallTime>,
    /// Only with at least one of these tags.
    pub any_tag: Vec<(String, String)>,
    /// Only of products in these resource spaces.
    pub spaces: Spaces,
}

/// What devices are searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceSearch {
    /// Alternatives, at most [`ALTERNATIVES_MAX`](crate::limits::ALTERNATIVES_MAX): a device is found when everything in one
    /// of them holds. None: nothing is found; an empty one: everything is.
    pub any: Vec<Vec<DeviceCondition>>,
    /// The order of what is found: as registered, or the newest first.
    pub oldest_first: bool,
}

/// A page of what was found, in the order of the search.
#[derive(Clone, Copy, Debug)]
pub struct SearchPage {
    /// Only what comes after this.
    pub after: Option<DeviceKey>,
    /// So many are left out.
    pub skip: u32,
    /// At most this many.
    pub limit: u32,
}

/// Something that holds for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCondition {
    /// It must not hold. Of what a device does not have, nothing else holds.
    pub is_not: bool,
    /// What it is.
    pub fact: DeviceFact,
}

/// What may hold for a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceFact {
    /// A text of it.
    Text(DeviceText, TextIs),
    /// It is an instance of one of these products, by public id.
    Product(Vec<String>),
    /// Its product is in one of these resource spaces; `None` is the default one.
    Space(Vec<Option<SpaceKey>>),
    /// One of these reaches it: its gateway or, for a device without one, itself.
    Gateway(Vec<DeviceId>),
    /// It is a member of one of these groups, by public id.
    Group(Vec<String>),
    /// It has a tag for which all of these hold.
    Tag(Vec<TagCondition>),
    /// Its key is in one of these ranges.
    Key(Vec<Range<i64>>),
    /// It was registered in one of these ranges, in milliseconds.
    Created(Vec<Range<i64>>),
    /// It may not connect.
    Frozen,
    /// Another device is its gateway.
    Child,
}

/// Texts that a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceText {
    /// Its public id.
    Id,
    /// The maker's number.
    Node,
    /// Its name.
    Name,
    /// The firmware it last reported.
    Firmware,
    /// The software it last reported.
    Software,
}

/// What a text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextIs {
    /// One of these.
    OneOf(Vec<String>),
    /// It begins so.
    Begins(String),
}

/// Something that holds for a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagCondition {
    /// It must not hold.
    pub is_not: bool,
    /// For its key, or for its value.
    pub of_key: bool,
    /// What it is.
    pub is: TextIs,
}

impl TextIs {
    pub(crate) fn holds(&self, text: &str) -> bool {
        match self {
            TextIs::OneOf(texts) => texts.iter().any(|one| one == text),
            TextIs::Begins(start) => text.starts_with(start.as_str()),
        }
    }
}
