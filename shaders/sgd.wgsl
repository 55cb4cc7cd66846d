// SGD with momentum over the arena of all parameters, as torch.optim.SGD: one dispatch for the whole network.

override LENGTH: u32 = 225280u; // a multiple of 4
override LR: f32 = 0.01;
override MOMENTUM: f32 = 0.9;
override NESTEROV: bool = true;

const WORKGROUP: u32 = 256u;

@group(0) @binding(0) var<storage, read_write> param: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> velocity: array<vec4f>;
@group(0) @binding(2) var<storage, read> gradient: array<vec4f>;

// Four elements at a time: a kernel that does so little waits for memory alone.
// v = momentum * v + g;  p -= lr * (g + momentum * v) with Nesterov, lr * v without
@compute @workgroup_size(WORKGROUP)
fn update(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    for (var i = id.x; i < LENGTH / 4u; i += groups.x * WORKGROUP) {
        let g = gradient[i];
        let v = MOMENTUM * velocity[i] + g;
        velocity[i] = v;
        param[i] -= LR * select(v, g + MOMENTUM * v, NESTEROV);
    }
}
