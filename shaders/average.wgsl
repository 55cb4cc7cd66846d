// The exponential moving average of an arena, as torch.optim.swa_utils.AveragedModel takes it: after the first step it
// is the arena itself. Invocations move four numbers at once, as in sgd.wgsl.

override LENGTH: u32 = 225280u; // a multiple of 4
override DECAY: f32 = 0.995;

const WORKGROUP: u32 = 256u;

struct Batch {
    first: u32,
    count: u32,
    index: u32,
    step: u32,
    learning_rate: f32,
    correction1: f32,
    correction2: f32,
}

@group(0) @binding(0) var<storage, read> now: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> average: array<vec4f>;
@group(1) @binding(0) var<uniform> batch: Batch;

// average += (1 - DECAY) * (now - average)
@compute @workgroup_size(WORKGROUP)
fn update(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    for (var i = id.x; i < LENGTH / 4u; i += groups.x * WORKGROUP) {
        let moved = average[i] + (1.0 - DECAY) * (now[i] - average[i]);
        average[i] = select(moved, now[i], batch.step == 0u);
    }
}
