// ReLU, element by element. Each invocation takes elements a whole dispatch apart, so that neighbours load neighbouring
// numbers, and a dispatch of limited size serves any length.

override LENGTH: u32 = 692224u;

const WORKGROUP: u32 = 256u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> d_y: array<f32>;
@group(0) @binding(3) var<storage, read_write> d_x: array<f32>;

// By the bits, since WGSL lets a compiler assume that comparisons meet no NaN.
fn is_nan(value: f32) -> bool { return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u; }

// y = max(x, 0). A NaN stays one, so that it reaches the loss, and -0 becomes 0.
@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    for (var i = id.x; i < LENGTH; i += groups.x * WORKGROUP) {
        y[i] = select(x[i], 0.0, x[i] <= 0.0 && !is_nan(x[i]));
    }
}

// d_x = d_y where x > 0; the gradient at 0 is 0, as in PyTorch.
@compute @workgroup_size(WORKGROUP)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    for (var i = id.x; i < LENGTH; i += groups.x * WORKGROUP) {
        d_x[i] = select(d_y[i], 0.0, x[i] <= 0.0);
    }
}
