// Leaky ReLU, element by element, in the manner of relu.wgsl.

override LENGTH: u32 = 692224u;
override SLOPE: f32 = 0.01; // below 0

const WORKGROUP: u32 = 256u;

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> d_y: array<f32>;
@group(0) @binding(3) var<storage, read_write> d_x: array<f32>;

// y = x where x > 0, else SLOPE * x. Either way a NaN stays one.
@compute @workgroup_size(WORKGROUP)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    for (var i = id.x; i < LENGTH; i += groups.x * WORKGROUP) {
        y[i] = select(SLOPE * x[i], x[i], x[i] > 0.0);
    }
}

// d_x = d_y where x > 0, else SLOPE * d_y
@compute @workgroup_size(WORKGROUP)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    for (var i = id.x; i < LENGTH; i += groups.x * WORKGROUP) {
        d_x[i] = select(SLOPE * d_y[i], d_y[i], x[i] > 0.0);
    }
}
