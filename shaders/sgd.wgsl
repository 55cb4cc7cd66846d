// SGD with momentum over the arena of all parameters, as torch.optim.SGD: one dispatch for the whole network.

override LENGTH: u32 = 225280u;
override LR: f32 = 0.01;
override MOMENTUM: f32 = 0.9;
override NESTEROV: bool = true;

const WORKGROUP: u32 = 256u;

@group(0) @binding(0) var<storage, read_write> param: array<f32>;
@group(0) @binding(1) var<storage, read_write> velocity: array<f32>;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;

// v = momentum * v + g;  p -= lr * (g + momentum * v) with Nesterov, lr * v without
@compute @workgroup_size(WORKGROUP)
fn update(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    for (var i = id.x; i < LENGTH; i += groups.x * WORKGROUP) {
        let g = gradient[i];
        let v = MOMENTUM * velocity[i] + g;
        velocity[i] = v;
        param[i] -= LR * select(v, g + MOMENTUM * v, NESTEROV);
    }
}
