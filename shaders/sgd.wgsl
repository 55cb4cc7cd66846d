// SGD with momentum over the arena of all parameters, as torch.optim.SGD: one dispatch for the whole network.

override LENGTH: u32 = 225280u; // a multiple of 4
override LR: f32 = 0.01;
override MOMENTUM: f32 = 0.9;
override NESTEROV: bool = true;

const WORKGROUP: u32 = 256u;
const TEXELS: u32 = 0u; // texels in a row of the textures through which the old values are read; 0: they are read themselves

@group(0) @binding(0) var<storage, read_write> param: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> velocity: array<vec4f>;
@group(0) @binding(2) var<storage, read> gradient: array<vec4f>;

// Where TEXELS is more than 0 the host puts loads of texels here.
fn param_at(i: u32) -> vec4f { return param[i]; }
fn velocity_at(i: u32) -> vec4f { return velocity[i]; }
fn gradient_at(i: u32) -> vec4f { return gradient[i]; }

// Four elements at a time: a kernel that does so little waits for memory alone. One turn of the loop nearly always suffices, and
// one only it costs: see conv2d_relu_maxpool2d.wgsl.
// v = momentum * v + g;  p -= lr * (g + momentum * v) with Nesterov, lr * v without
@compute @workgroup_size(WORKGROUP)
fn update(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    var i = id.x;
    loop {
        if (i < LENGTH / 4u) {
            let g = gradient_at(i);
            let v = MOMENTUM * velocity_at(i) + g;
            velocity[i] = v;
            param[i] = param_at(i) - LR * select(v, g + MOMENTUM * v, NESTEROV);
        }
        i += groups.x * WORKGROUP;
        if (i >= LENGTH / 4u) { break; }
    }
}
