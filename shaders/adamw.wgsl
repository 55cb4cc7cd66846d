// AdamW, as torch.optim.AdamW: one dispatch over the whole arena of parameters, in the manner of sgd.wgsl.

override LENGTH: u32 = 225280u; // a multiple of 4
override BETA1: f32 = 0.9;
override BETA2: f32 = 0.999;
override EPSILON: f32 = 1e-8;
override WEIGHT_DECAY: f32 = 0.01;

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

@group(0) @binding(0) var<storage, read_write> param: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> exp_avg: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> exp_avg_sq: array<vec4f>;
@group(0) @binding(3) var<storage, read> gradient: array<vec4f>;
@group(1) @binding(0) var<uniform> batch: Batch;

// p -= learning_rate * WEIGHT_DECAY * p;  m = BETA1 * m + (1 - BETA1) * g;  v = BETA2 * v + (1 - BETA2) * g^2;
// p -= learning_rate * (m / (1 - BETA1^t)) / (sqrt(v / (1 - BETA2^t)) + EPSILON), where the host has computed the
// corrections 1 / (1 - BETA1^t) and 1 / sqrt(1 - BETA2^t) of step t
@compute @workgroup_size(WORKGROUP)
fn update(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    for (var i = id.x; i < LENGTH / 4u; i += groups.x * WORKGROUP) {
        let g = gradient[i];
        let m = BETA1 * exp_avg[i] + (1.0 - BETA1) * g;
        let v = BETA2 * exp_avg_sq[i] + (1.0 - BETA2) * g * g;
        exp_avg[i] = m;
        exp_avg_sq[i] = v;
        let p = param[i] * (1.0 - batch.learning_rate * WEIGHT_DECAY);
        let size = sqrt(v) * batch.correction2 + EPSILON;
        param[i] = p - batch.learning_rate * batch.correction1 * m / size;
    }
}
