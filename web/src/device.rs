//! What trains: the browser's GPU, or the processor.

use crate::js::{clock, error, object};
use js_sys::{Function, Object};
use mnist_wgpu::gpu::interface::Interface;
use mnist_wgpu::gpu::{Adapters, Context, GpuError, Options, Shader};
use mnist_wgpu::parity::selftest::{Outcome, checks};
use mnist_wgpu::parity::{Fault, Gpu};
use std::collections::HashMap;
use std::rc::Rc;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = "
/** One check of a self-test. */
export interface Check {
    /** The op, or what else is checked, and its sizes. */
    name: string;
    sizes: string;
    passed: boolean;
    /** The largest error as a share of what is allowed; 0 where the results are exact. */
    share: number;
    /** What was wrong. */
    message?: string;
    seconds: number;
}
";

/// An open device.
#[wasm_bindgen]
pub struct Device {
    /// None for the processor.
    pub(crate) context: Option<Rc<Context>>,
}

#[wasm_bindgen]
impl Device {
    /// Opens `"gpu"`, the adapter that the browser offers, or `"cpu"`, one thread of WebAssembly.
    pub async fn open(name: &str) -> Result<Device, JsError> {
        match name {
            "cpu" => Ok(Self { context: None }),
            "gpu" => {
                let adapters = Adapters::find().await;
                if adapters.is_empty() {
                    return Err(error("this browser offers no WebGPU adapter"));
                }
                let context = adapters.open(0, Options { interfaces, ..Options::default() }).await.map_err(error)?;
                Ok(Self { context: Some(Rc::new(context)) })
            }
            other => Err(error(format!("device: expected \"gpu\" or \"cpu\", found {other:?}"))),
        }
    }

    /// Runs every op at the sizes of the network and at odd ones, and whole training steps, and holds them against the
    /// processor. `listener` hears of each check; the promise tells how many there were, and how many passed.
    #[wasm_bindgen(unchecked_return_type = "{ passed: number; all: number }")]
    pub async fn selftest(
        &self,
        #[wasm_bindgen(unchecked_param_type = "(check: Check) => void")] listener: Function,
    ) -> Result<Object, JsError> {
        let context = self.context.as_ref();
        let context = context.ok_or_else(|| error("the processor is what a GPU is held against: open \"gpu\""))?;
        let gpu = Gpu::new(context.clone());
        let (checks, mut passed) = (checks(), 0);
        let all = checks.len();
        for check in checks {
            let began = clock();
            let outcome = check.run(&gpu).await;
            passed += usize::from(outcome.failure.is_none());
            let share = outcome.compared.iter().map(|compared| compared.share).fold(0.0, f64::max);
            let told = object([
                ("name", check.name.into()),
                ("sizes", check.case.as_str().into()),
                ("passed", outcome.failure.is_none().into()),
                ("share", share.into()),
                ("message", message(&outcome).map_or(JsValue::UNDEFINED, JsValue::from)),
                ("seconds", (clock() - began).as_secs_f64().into()),
            ]);
            if let Err(thrown) = listener.call1(&JsValue::NULL, &told) {
                wasm_bindgen::throw_val(thrown); // it is the caller's own
            }
            let fault = outcome.failure.as_ref().map(|failure| &*failure.failed.fault);
            if let Some(Fault::Gpu(GpuError::Device(message))) = fault {
                return Err(error(format!("the device reported an error: {message}")));
            }
        }
        Ok(object([("passed", passed.into()), ("all", all.into())]))
    }
}

/// The entry points of a shader, as `build.rs` found them.
fn interfaces(shader: &Shader) -> Result<Vec<Interface>, GpuError> {
    thread_local! {
        static ALL: HashMap<String, Vec<Interface>> =
            serde_json::from_str(include_str!(concat!(env!("OUT_DIR"), "/interfaces.json"))).unwrap_or_default();
    }
    let unknown = || GpuError::Shader { op: shader.op, message: "it was not there when the program was built".into() };
    ALL.with(|all| all.get(shader.op).cloned()).ok_or_else(unknown)
}

fn message(outcome: &Outcome) -> Option<String> {
    let failure = outcome.failure.as_ref()?;
    Some(format!("{} in {}: {}", failure.failed.case, failure.suspects.join(", "), failure.failed.fault))
}
