//! mnist-wgpu for a browser: the library without the command line, as JavaScript sees it.
//!
//! ```js
//! import init, { Dataset, Device, Trainer } from "./mnist_wgpu_web.js";
//!
//! await init();
//! const trainer = new Trainer(await Device.open("gpu"), Dataset.drawn(6000, 1000, 0), { epochs: 3 });
//! const end = await trainer.run((event) => console.log(event));
//! const bytes = trainer.file(); // model.safetensors
//! ```
//!
//! Everything lives in the thread that calls it. A page that trains does so in a worker, and stays free itself.

mod data;
mod device;
mod js;
mod listener;
mod network;
mod trainer;

pub use data::Dataset;
pub use device::Device;
pub use network::Network;
pub use trainer::Trainer;

use wasm_bindgen::prelude::wasm_bindgen;

/// Tells the console of a panic, of which the page would otherwise see nothing but "unreachable".
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// The version of mnist-wgpu.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}
