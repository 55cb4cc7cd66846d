//! Objects for JavaScript, its errors, and its clock.

use js_sys::{JSON, Object, Reflect};
use std::fmt::Display;
use std::time::Duration;
use wasm_bindgen::prelude::{JsError, JsValue, wasm_bindgen};

/// An object with these properties.
pub fn object<const N: usize>(properties: [(&str, JsValue); N]) -> Object {
    let object = Object::new();
    for (name, value) in properties {
        // It fails for what is no object.
        let _ = Reflect::set(&object, &name.into(), &value);
    }
    object
}

/// A property of an options object; none where it is left out.
pub fn property(options: &JsValue, name: &str) -> Option<JsValue> {
    let value = Reflect::get(options, &name.into()).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

/// A value as its writer knows it.
pub fn shown(value: &JsValue) -> String {
    JSON::stringify(value).map(String::from).unwrap_or_else(|_| "something else".into())
}

/// What went wrong, as JavaScript throws it.
pub fn error(error: impl Display) -> JsError {
    JsError::new(&error.to_string())
}

#[wasm_bindgen(inline_js = "
    export const now = () => performance.now();

    // A message to oneself comes after what waits already, and without the delay of a timer.
    const { port1, port2 } = new MessageChannel();
    const waiting = [];
    port1.onmessage = () => waiting.shift()();
    export const others = () => new Promise((resolve) => { waiting.push(resolve); port2.postMessage(0); });
")]
extern "C" {
    /// Milliseconds since the page was opened.
    fn now() -> f64;

    /// Lets whatever else waits in this thread go first: messages, and in a page its drawing.
    #[wasm_bindgen(js_name = others)]
    pub async fn others();
}

/// The time since the page was opened.
pub fn clock() -> Duration {
    Duration::from_secs_f64(now() / 1000.0)
}
