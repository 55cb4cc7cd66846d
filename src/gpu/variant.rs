//! Variants of the kernels. One tiling cannot serve all devices: a GPU wants thousands of invocations of few registers each,
//! a software rasteriser, which runs on a few cores' vector units, few invocations that load as little as they can.
//!
//! A variant is other values for a shader's `const`s; in [`Variant::Wide`] and [`Variant::Shared`] buffers read through textures, and
//! in [`Variant::Shared`] loads shared through subgroups. All variants compute the same and stand under the same tests;
//! `docs/performance.md` has what each gives where.

use super::context::is_software;
use super::tensor::TEXELS;
use std::fmt;
use std::str::FromStr;
use wgpu::{Adapter, Features};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// Small tiles: many invocations, few registers. For GPUs.
    Narrow,
    /// Large tiles: few loads for each multiply-add, and those of texels, four elements at once. For software rasterisers.
    Wide,
    /// The same, and the invocations of a subgroup share what they load. For software rasterisers with subgroups of one
    /// known size.
    Shared,
}

impl Variant {
    pub const ALL: [Variant; 3] = [Variant::Narrow, Variant::Wide, Variant::Shared];

    /// Texels in a row of the textures through which kernels read their buffers; 0 where they read the buffers themselves.
    pub fn texels(self) -> u32 {
        match self {
            Variant::Narrow => 0,
            Variant::Wide | Variant::Shared => TEXELS,
        }
    }

    /// The variant that suits `adapter`.
    pub fn for_adapter(adapter: &Adapter) -> Self {
        match (is_software(&adapter.get_info()), lanes(adapter)) {
            (false, _) => Variant::Narrow,
            (true, None) => Variant::Wide,
            (true, Some(_)) => Variant::Shared,
        }
    }
}

/// How many invocations share loads in [`Variant::Shared`] on `adapter`: the size of its subgroups where that is one number
/// that divides the kernels' tiles.
pub fn lanes(adapter: &Adapter) -> Option<u32> {
    let info = adapter.get_info();
    let fixed = info.subgroup_min_size == info.subgroup_max_size && [2, 4, 8].contains(&info.subgroup_min_size);
    (fixed && adapter.features().contains(Features::SUBGROUP)).then_some(info.subgroup_min_size)
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Variant::Narrow => "narrow",
            Variant::Wide => "wide",
            Variant::Shared => "shared",
        })
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Variant::ALL.into_iter().find(|variant| variant.to_string() == text);
        known.ok_or_else(|| "expected narrow, wide or shared".into())
    }
}
