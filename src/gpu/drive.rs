//! Waiting, for native programs: a future that waits on the GPU only moves when somebody polls the device.

use super::Context;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// How long one poll of the device may sleep. A submit takes tens of milliseconds; callbacks of earlier submits run when
/// the poll returns.
const SLICE: Duration = Duration::from_millis(1);

/// Runs `future` to its end on this thread, polling the context's device whenever the future waits.
pub fn block_on<T>(context: &Context, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    pollster::block_on(std::future::poll_fn(move |task| match future.as_mut().poll(task) {
        Poll::Ready(value) => Poll::Ready(value),
        Poll::Pending => {
            // A time-out is the normal case here, and a lost device reaches the future through its own callback.
            let _ = context.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(SLICE) });
            task.waker().wake_by_ref();
            Poll::Pending
        }
    }))
}
