//! A labelled piece of a GPU buffer, and the ways in and out of it.

use super::{Context, GpuError};
use bytemuck::Pod;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;

/// Where a slice of a buffer may begin, in elements of 4 bytes: WebGPU's default `min_storage_buffer_offset_alignment`.
pub const ALIGNMENT: usize = 256 / 4;

/// A run of 4-byte elements (f32 or u32) in a GPU buffer. Several tensors may share one buffer, as all parameters do.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub label: String,
    buffer: wgpu::Buffer,
    /// In elements from the start of `buffer`, a multiple of [`ALIGNMENT`].
    offset: usize,
    len: usize,
}

impl Tensor {
    /// A new buffer of `len` elements, all zero.
    pub fn zeros(context: &Context, label: impl Into<String>, len: usize) -> Result<Self, GpuError> {
        let label = label.into();
        let size = len.max(1) as u64 * 4;
        let limit = context.device.limits().max_storage_buffer_binding_size.min(context.device.limits().max_buffer_size);
        if size > limit {
            let device = context.info.name.clone();
            return Err(GpuError::BufferTooLarge { what: label, needed: size, device, limit });
        }
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let descriptor = wgpu::BufferDescriptor { label: Some(&label), size, usage, mapped_at_creation: false };
        let buffer = context.device.create_buffer(&descriptor);
        context.check()?; // of many buffers the first that finds no memory is the last
        Ok(Self { label, buffer, offset: 0, len })
    }

    /// A new buffer that holds `data`.
    pub fn from_slice<T: Pod>(context: &Context, label: impl Into<String>, data: &[T]) -> Result<Self, GpuError> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let tensor = Self::zeros(context, label, bytes.len().div_ceil(4))?;
        tensor.write(context, bytes);
        Ok(tensor)
    }

    /// Elements `range` of this tensor as a tensor of its own, over the same memory.
    ///
    /// # Panics
    /// If the range goes beyond the tensor or begins off the [`ALIGNMENT`].
    pub fn slice(&self, label: impl Into<String>, range: Range<usize>) -> Self {
        assert!(range.start.is_multiple_of(ALIGNMENT) && range.end <= self.len, "a slice outside {}", self.label);
        Self { label: label.into(), buffer: self.buffer.clone(), offset: self.offset + range.start, len: range.len() }
    }

    /// In elements.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Overwrites the first `data.len()` bytes, in the order of the queue. Written in pieces, so that the staging
    /// memory of a large data set is not as large again.
    ///
    /// # Panics
    /// If the data is larger than the tensor.
    pub fn write(&self, context: &Context, data: &[u8]) {
        const PIECE: usize = 4 << 20;
        assert!(data.len() <= self.len.max(1) * 4, "{} bytes for the {} elements of {}", data.len(), self.len, self.label);
        for (index, piece) in data.chunks(PIECE).enumerate() {
            let at = self.offset as u64 * 4 + (index * PIECE) as u64;
            if piece.len().is_multiple_of(4) {
                context.queue.write_buffer(&self.buffer, at, piece);
            } else {
                let mut padded = piece.to_vec();
                padded.resize(piece.len().next_multiple_of(4), 0);
                context.queue.write_buffer(&self.buffer, at, &padded);
            }
            if piece.len() == PIECE {
                context.queue.submit([]);
            }
        }
    }

    pub(super) fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset as u64 * 4,
            size: std::num::NonZeroU64::new(self.len as u64 * 4),
        })
    }

    /// Copies elements `range` into a new staging buffer, to be mapped once the encoder's commands have been submitted.
    pub fn stage(&self, context: &Context, encoder: &mut wgpu::CommandEncoder, range: Range<usize>) -> wgpu::Buffer {
        let size = range.len() as u64 * 4;
        let staging = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("staging"),
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        encoder.copy_buffer_to_buffer(&self.buffer, (self.offset + range.start) as u64 * 4, &staging, 0, size);
        staging
    }

    /// Reads the whole tensor back, after everything that was submitted before.
    pub async fn read<T: Pod>(&self, context: &Context) -> Result<Vec<T>, GpuError> {
        let mut encoder = context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("read") });
        let staging = self.stage(context, &mut encoder, 0..self.len);
        context.queue.submit([encoder.finish()]);
        Mapping::request(staging).read(context).await
    }
}

/// A staging buffer on its way back to the host.
pub struct Mapping {
    staging: wgpu::Buffer,
    done: futures_channel::oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
}

impl Mapping {
    /// Asks for `staging` to be mapped once the submits that write it have finished.
    pub fn request(staging: wgpu::Buffer) -> Self {
        let (send, done) = futures_channel::oneshot::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| {
            let _ = send.send(result); // nobody waits any more: fine
        });
        Self { staging, done }
    }

    pub async fn read<T: Pod>(mut self, context: &Context) -> Result<Vec<T>, GpuError> {
        // A lost device never answers. The context has its error by then, which ends the wait.
        let answer = poll_fn(|task| match Pin::new(&mut self.done).poll(task) {
            Poll::Pending => context.check().map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending),
            Poll::Ready(answer) => Poll::Ready(Ok(answer)),
        });
        match answer.await? {
            Ok(Ok(())) => {}
            Ok(Err(e)) => {
                context.check()?; // the device's own words say more than the failed mapping
                return Err(GpuError::Readback(e.to_string()));
            }
            Err(_) => return Err(GpuError::Readback("the device is gone".into())),
        }
        context.check()?;
        let view = self.staging.slice(..).get_mapped_range().map_err(|e| GpuError::Readback(e.to_string()))?;
        let values = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        self.staging.destroy(); // a browser would keep it until it collects its garbage
        Ok(values)
    }
}
