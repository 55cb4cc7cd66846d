// SGD with momentum, as torch.optim.SGD.
//
// All parameters lie in one arena, their gradients and velocities in two others, so that one dispatch serves the whole
// network. A kernel that computes so little waits for memory alone: an invocation moves four numbers at once,
// neighbours four neighbouring ones, and takes the next a whole dispatch further on.

override LENGTH: u32 = 225280u; // a multiple of 4
override MOMENTUM: f32 = 0.9;
override NESTEROV: bool = true;
override WEIGHT_DECAY: f32 = 0.0;

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
@group(0) @binding(1) var<storage, read_write> velocity: array<vec4f>;
@group(0) @binding(2) var<storage, read> gradient: array<vec4f>;
@group(1) @binding(0) var<uniform> batch: Batch;

// g += weight_decay * p;  v = momentum * v + g;  p -= learning_rate * (g + momentum * v) with Nesterov,
// p -= learning_rate * v without
@compute @workgroup_size(WORKGROUP)
fn update(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    for (var i = id.x; i < LENGTH / 4u; i += groups.x * WORKGROUP) {
        let p = param[i];
        let g = select(gradient[i], gradient[i] + WEIGHT_DECAY * p, WEIGHT_DECAY != 0.0);
        let v = MOMENTUM * velocity[i] + g;
        velocity[i] = v;
        param[i] = p - batch.learning_rate * select(v, g + MOMENTUM * v, NESTEROV);
    }
}
