// Dropout by itself; linear.wgsl has its own where a linear layer follows.
//
// In training an element becomes 0 with a probability, and the others are multiplied by SCALE. Which ones is decided by
// a hash of (seed, layer, step, index), the same function as `ops::dropout::cpu::keep`, so that nothing has to be
// stored between the passes: the backward pass runs `apply` on the gradient. Each invocation takes elements a whole
// dispatch apart, so that neighbours load neighbouring numbers, and a dispatch of limited size serves any length.

override LENGTH: u32 = 4096u;
override KEY: u32 = 0u;                   // from seed and layer
override THRESHOLD: u32 = 2147483648u;    // p * 2^32
override SCALE: f32 = 2.0;                // 1 / (1 - p)

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

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(1) @binding(0) var<uniform> batch: Batch;

// lowbias32, a 32-bit integer hash with low bias.
fn hash(seed: u32) -> u32 {
    var h = (seed ^ (seed >> 16u)) * 0x7feb352du;
    h = (h ^ (h >> 15u)) * 0x846ca68bu;
    return h ^ (h >> 16u);
}

// y = x * SCALE where kept, else 0
@compute @workgroup_size(WORKGROUP)
fn apply(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let key = hash(batch.step + KEY);
    for (var i = id.x; i < LENGTH; i += groups.x * WORKGROUP) {
        y[i] = select(0.0, x[i] * SCALE, hash(i ^ key) >= THRESHOLD);
    }
}
