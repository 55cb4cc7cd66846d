//! Time per dispatch, from timestamp queries. Each dispatch gets a compute pass of its own, which costs time by itself:
//! the figures are for comparing kernels, not for adding up to a training step.

use super::tensor::Mapping;
use super::{Context, GpuError, Slots, Step};
use std::ops::Range;
use std::time::Duration;

/// Start and end of each of `steps`, in order, on the device's clock. None where the device has no timestamps. All
/// steps read slot number `slot`.
pub async fn time(
    context: &Context,
    steps: &[&Step],
    slots: &Slots,
    slot: u32,
) -> Result<Option<Vec<Range<Duration>>>, GpuError> {
    let device = &context.device;
    if !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
        return Ok(None);
    }
    let count = 2 * steps.len() as u32;
    let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
        label: Some("timestamps"),
        ty: wgpu::QueryType::Timestamp,
        count,
    });
    let buffer = |usage| {
        let size = u64::from(count) * 8;
        device.create_buffer(&wgpu::BufferDescriptor { label: Some("timestamps"), size, usage, mapped_at_creation: false })
    };
    let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
    let staging = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);

    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("profile") });
    for (index, step) in (0u32..).zip(steps) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some(&step.label),
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &queries,
                beginning_of_pass_write_index: Some(2 * index),
                end_of_pass_write_index: Some(2 * index + 1),
            }),
        });
        step.record(&mut pass, slots, slot);
    }
    encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
    encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, u64::from(count) * 8);
    context.queue.submit([encoder.finish()]);
    let ticks: Vec<u64> = Mapping::request(staging).read(context).await?;
    let period = f64::from(context.queue.get_timestamp_period());
    let time = |tick: u64| Duration::from_nanos((tick as f64 * period) as u64);
    Ok(Some(ticks.chunks_exact(2).map(|pair| time(pair[0])..time(pair[1].max(pair[0]))).collect()))
}
