//! Time per dispatch, from timestamp queries. Each dispatch gets a compute pass of its own, which costs time by itself: the
//! figures are for comparing kernels, not for adding up to a training step.

use super::tensor::Mapping;
use super::{GpuEngine, GpuError};
use std::ops::Range;
use std::time::Duration;

impl GpuEngine<'_> {
    /// From when to when, on the device's clock, each dispatch of a training step ran, in order; nothing where the device has
    /// no timestamps. Runs batch `batch` of the current order, one of training images, as one training step.
    pub async fn time_dispatches(&mut self, batch: usize) -> Result<Option<Vec<Range<Duration>>>, GpuError> {
        let device = &self.context.device;
        if !device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let steps: Vec<_> = self.training_steps().collect();
        let count = 2 * steps.len() as u32;
        let queries = device.create_query_set(&wgpu::QuerySetDescriptor {
            label: Some("timestamps"),
            ty: wgpu::QueryType::Timestamp,
            count,
        });
        let buffer = |usage| {
            let size = u64::from(count) * 8;
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("timestamps"),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let staging = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);

        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("profile") });
        for (index, step) in (0u32..).zip(&steps) {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(&step.label),
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &queries,
                    beginning_of_pass_write_index: Some(2 * index),
                    end_of_pass_write_index: Some(2 * index + 1),
                }),
            });
            step.record(&mut pass, &self.batch_group, batch as u32);
        }
        encoder.resolve_query_set(&queries, 0..count, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, u64::from(count) * 8);
        self.context.queue.submit([encoder.finish()]);
        let ticks: Vec<u64> = Mapping::request(staging).read(self.context).await?;
        let period = f64::from(self.context.queue.get_timestamp_period());
        let time = |tick: u64| Duration::from_nanos((tick as f64 * period) as u64);
        Ok(Some(ticks.chunks_exact(2).map(|pair| time(pair[0])..time(pair[1].max(pair[0]))).collect()))
    }
}
