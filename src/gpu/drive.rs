//! Waiting, for native programs: a future that waits on the GPU only moves when somebody polls the device.

use super::Context;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long one poll of the device may sleep. A submit takes tens of milliseconds; callbacks of earlier submits run
/// when the poll returns.
const SLICE: Duration = Duration::from_millis(1);

/// Runs `future` to its end on this thread, polling the context's device whenever the future waits.
pub fn block_on<T>(context: &Context, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    pollster::block_on(std::future::poll_fn(move |task| match future.as_mut().poll(task) {
        Poll::Ready(value) => Poll::Ready(value),
        Poll::Pending => {
            // A time-out is the normal case. Where the device is lost, wgpu tells the context and then panics; the
            // context's `check` ends the future with an error (see `Mapping::read`).
            let wait = || context.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(SLICE) });
            let _ = catch_unwind(AssertUnwindSafe(wait));
            task.waker().wake_by_ref();
            Poll::Pending
        }
    }))
}

/// `future`, which waits on the context's device, in a program that is `async` itself: at once where a native program
/// waits, in a browser when the event loop comes to it.
pub async fn wait<T>(context: &Context, future: impl Future<Output = T>) -> T {
    if cfg!(target_arch = "wasm32") { future.await } else { block_on(context, future) }
}
