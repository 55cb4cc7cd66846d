//! A plan: dispatches with everything bound and sized, made once and replayed for every batch.

use super::kernel::{Kernel, Source};
use super::{Context, GpuError, Shader, Tensor};
use bytemuck::NoUninit;
use std::sync::Arc;

/// One dispatch with its buffers bound.
pub struct Step {
    /// `op.entry_point`, for error messages and profilers.
    pub label: String,
    /// See [`Dispatch::flops`].
    pub flops: u64,
    /// Bytes that it must move at least: each element it needs is read once, or written once, or both.
    pub bytes: u64,
    /// What its pipeline was compiled from.
    pub source: Arc<Source>,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    uses_slot: bool,
    workgroups: [u32; 3],
}

/// Records `steps` as one compute pass, each with the number of the slot that it reads.
pub fn record<'a>(encoder: &mut wgpu::CommandEncoder, steps: impl Iterator<Item = (&'a Step, u32)>, slots: &Slots) {
    let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
    for (step, slot) in steps {
        step.record(&mut pass, slots, slot);
    }
}

impl Step {
    /// Records the dispatch, which reads slot number `slot`.
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>, slots: &Slots, slot: u32) {
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.bind_group, &[]);
        if self.uses_slot {
            pass.set_bind_group(1, &slots.group, &[slot * Slots::STRIDE as u32]);
        }
        pass.dispatch_workgroups(self.workgroups[0], self.workgroups[1], self.workgroups[2]);
    }
}

/// A dispatch as an op describes it; see [`Planner::dispatch`].
pub struct Dispatch<'a> {
    pub shader: &'a Shader,
    pub entry: &'a str,
    /// Values of the shader's `override` constants.
    pub constants: &'a [(&'a str, f64)],
    /// Each buffer: its name in the shader, the tensor, and how many elements the kernel touches.
    pub buffers: &'a [(&'a str, &'a Tensor, usize)],
    /// Invocations needed along x, y, z; rounded up to whole workgroups.
    pub invocations: [usize; 3],
    /// Floating-point operations that the dispatch stands for, as its op's definition has them.
    pub flops: u64,
}

/// Collects the steps of a plan.
pub struct Planner<'a> {
    pub context: &'a Context,
    pub steps: Vec<Step>,
}

impl<'a> Planner<'a> {
    pub fn new(context: &'a Context) -> Self {
        Self { context, steps: Vec::new() }
    }

    /// Compiles and binds one dispatch and appends it.
    ///
    /// Errors name op, entry point and binding: a buffer that the kernel uses and that is missing, one that it does not
    /// use, one that is too small, too many workgroups, or a kernel that does not compile.
    pub fn dispatch(&mut self, d: Dispatch) -> Result<(), GpuError> {
        let kernel = self.context.kernel(d.shader, d.entry, d.constants)?;
        let error = |binding: &str, problem: String| GpuError::Binding {
            op: d.shader.op,
            entry: d.entry.into(),
            binding: binding.into(),
            problem,
        };
        for (name, tensor, needed) in d.buffers {
            if !kernel.bindings.iter().any(|b| b.name == *name) {
                let used: Vec<_> = kernel.bindings.iter().map(|b| b.name.as_str()).collect();
                return Err(error(name, format!("the kernel does not use it; it uses: {}", used.join(", "))));
            }
            if tensor.len() < *needed {
                let (label, found) = (&tensor.label, tensor.len());
                return Err(error(name, format!("needs {needed} elements, but tensor `{label}` has {found}")));
            }
        }
        let mut entries = Vec::new();
        let mut bytes = 0;
        for b in &kernel.bindings {
            let Some((_, tensor, needed)) = d.buffers.iter().find(|(name, ..)| *name == b.name) else {
                return Err(error(&b.name, "the kernel uses it, but no buffer was given".into()));
            };
            if !b.read_only && tensor.is_empty() {
                return Err(error(&b.name, format!("is written, but tensor `{}` is empty", tensor.label)));
            }
            bytes += 4 * *needed as u64 * (u64::from(b.reads) + u64::from(b.writes));
            entries.push(wgpu::BindGroupEntry { binding: b.index, resource: tensor.binding() });
        }

        let whole = |axis: usize| d.invocations[axis].div_ceil(kernel.workgroup_size[axis] as usize);
        let workgroups = [0, 1, 2].map(|axis| u32::try_from(whole(axis)).unwrap_or(u32::MAX));
        let limit = self.context.device.limits().max_compute_workgroups_per_dimension;
        if let Some(axis) = workgroups.iter().position(|&count| count > limit) {
            let (entry, found) = (d.entry.into(), workgroups[axis]);
            return Err(GpuError::TooManyWorkgroups { op: d.shader.op, entry, axis: ['x', 'y', 'z'][axis], found, limit });
        }
        let label = format!("{}.{}", d.shader.op, d.entry);
        let bind_group = self.context.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(&label),
            layout: &kernel.layout,
            entries: &entries,
        });
        self.context.check()?;
        let Kernel { source, pipeline, uses_slot, .. } = kernel;
        self.steps.push(Step { label, flops: d.flops, bytes, source, pipeline, bind_group, uses_slot, workgroups });
        Ok(())
    }
}

/// Invocations for a kernel whose loop strides over `elements` by the size of the whole dispatch: enough to fill any
/// GPU, few enough for one dimension.
pub fn strided(elements: usize) -> [usize; 3] {
    [elements.min(1 << 20), 1, 1]
}

/// Workgroups for a kernel that takes `planes` planes in turns, by a loop that strides by their number: one each, as
/// far as one dimension of a dispatch goes under WebGPU's default limits.
pub fn in_turns(planes: usize) -> usize {
    planes.min(65_535)
}

/// Runs `steps` once, in a submit of their own, with `uniform` in the slot that they read. It makes a buffer at each
/// call, which training does not.
pub fn run(context: &Context, steps: &[Step], uniform: &impl NoUninit) -> Result<(), GpuError> {
    let slots = Slots::new(context, 1);
    slots.write(context, std::slice::from_ref(uniform));
    let mut encoder = context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("run") });
    record(&mut encoder, steps.iter().map(|step| (step, 0)), &slots);
    context.queue.submit([encoder.finish()]);
    context.check()
}

/// What differs from batch to batch: a uniform buffer with a slot for each batch of a pass. The host writes them all
/// before the pass; each replay of the plan binds its own as bind group 1, by a dynamic offset.
pub struct Slots {
    buffer: wgpu::Buffer,
    group: wgpu::BindGroup,
}

impl Slots {
    /// Bytes from a slot to the next: WebGPU's default `min_uniform_buffer_offset_alignment`.
    pub const STRIDE: usize = 256;

    /// Room for `capacity` slots.
    pub fn new(context: &Context, capacity: usize) -> Self {
        let buffer = context.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("slots"),
            size: (capacity.max(1) * Self::STRIDE) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let size = std::num::NonZeroU64::new(Self::STRIDE as u64);
        let group = context.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("slot"),
            layout: &context.slot_layout,
            entries: &[wgpu::BindGroupEntry {
                binding: 0,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: &buffer, offset: 0, size }),
            }],
        });
        Self { buffer, group }
    }

    /// Writes `values` to the first slots.
    pub fn write<T: NoUninit>(&self, context: &Context, values: &[T]) {
        const { assert!(size_of::<T>() <= Self::STRIDE) }
        let mut bytes = vec![0; values.len() * Self::STRIDE];
        for (slot, value) in bytes.chunks_exact_mut(Self::STRIDE).zip(values) {
            slot[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(value));
        }
        context.queue.write_buffer(&self.buffer, 0, &bytes);
    }
}
