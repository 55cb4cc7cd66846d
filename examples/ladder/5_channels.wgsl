// Fifth rung: four output channels for each invocation.
//
// The field is the same for all output channels. Loaded once, it now serves four of them: 16 + 4 * 9 = 52 loads for 144
// multiply-adds, about half as many for each as before. The price is registers: four sums of four numbers live through
// the whole loop. A GPU holds fewer groups at a time when each needs more registers, and then has fewer to turn to
// while one waits for a load. So this goes on only up to a point.

override BATCH: u32 = 32u;         // N
override CHANNELS: u32 = 32u;      // C
override HEIGHT: u32 = 13u;        // H
override WIDTH: u32 = 13u;         // W
override OUT_CHANNELS: u32 = 64u;  // O

const TILE: u32 = 4u; // output channels of an invocation; OUT_CHANNELS is a multiple of it

@group(0) @binding(0) var<storage, read> x: array<f32>;        // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<f32>;   // (O, C, 3, 3)
@group(0) @binding(2) var<storage, read> bias: array<f32>;     // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // (N, O, PH, PW)

fn pooled_height() -> u32 { return (HEIGHT - 2u) / 2u; }
fn pooled_width() -> u32 { return (WIDTH - 2u) / 2u; }

struct Field { r0: vec4f, r1: vec4f, r2: vec4f, r3: vec4f } // 4x4 numbers around a 2x2 window
struct Kernel { r0: vec3f, r1: vec3f, r2: vec3f }           // 3x3 taps

fn x_row(plane: u32, row: u32, column: u32) -> vec4f {
    let at = (plane * HEIGHT + row) * WIDTH + column;
    return vec4f(x[at], x[at + 1u], x[at + 2u], x[at + 3u]);
}

fn field(plane: u32, row: u32, column: u32) -> Field {
    return Field(x_row(plane, row, column), x_row(plane, row + 1u, column),
        x_row(plane, row + 2u, column), x_row(plane, row + 3u, column));
}

// weight[o, c]
fn kernel(o: u32, c: u32) -> Kernel {
    let at = (o * CHANNELS + c) * 9u;
    return Kernel(vec3f(weight[at], weight[at + 1u], weight[at + 2u]),
        vec3f(weight[at + 3u], weight[at + 4u], weight[at + 5u]),
        vec3f(weight[at + 6u], weight[at + 7u], weight[at + 8u]));
}

// `sum` and the window's four outputs: each of the nine taps times the 2x2 numbers of the field that it meets.
fn convolve(sum: vec4f, f: Field, k: Kernel) -> vec4f {
    return sum
        + k.r0.x * vec4f(f.r0.xy, f.r1.xy) + k.r0.y * vec4f(f.r0.yz, f.r1.yz) + k.r0.z * vec4f(f.r0.zw, f.r1.zw)
        + k.r1.x * vec4f(f.r1.xy, f.r2.xy) + k.r1.y * vec4f(f.r1.yz, f.r2.yz) + k.r1.z * vec4f(f.r1.zw, f.r2.zw)
        + k.r2.x * vec4f(f.r2.xy, f.r3.xy) + k.r2.y * vec4f(f.r2.yz, f.r3.yz) + k.r2.z * vec4f(f.r2.zw, f.r3.zw);
}

// Bias, ReLU and maximum.
fn pool(sum: vec4f, bias: f32) -> f32 {
    let s = sum + bias;
    return max(max(max(s.x, s.y), max(s.z, s.w)), 0.0);
}

// Invocations: (N, PH, PW). Workgroups along y: tiles of O.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let windows = pooled_height() * pooled_width();
    if (id.x >= BATCH * windows) {
        return;
    }
    let n = id.x / windows;
    let py = id.x / pooled_width() % pooled_height();
    let px = id.x % pooled_width();
    let o = group.y * TILE;
    var s0 = vec4f();
    var s1 = vec4f();
    var s2 = vec4f();
    var s3 = vec4f();
    for (var c = 0u; c < CHANNELS; c++) {
        let f = field(n * CHANNELS + c, 2u * py, 2u * px);
        s0 = convolve(s0, f, kernel(o, c));
        s1 = convolve(s1, f, kernel(o + 1u, c));
        s2 = convolve(s2, f, kernel(o + 2u, c));
        s3 = convolve(s3, f, kernel(o + 3u, c));
    }
    let at = (n * OUT_CHANNELS + o) * windows + id.x % windows;
    y[at] = pool(s0, bias[o]);
    y[at + windows] = pool(s1, bias[o + 1u]);
    y[at + 2u * windows] = pool(s2, bias[o + 2u]);
    y[at + 3u * windows] = pool(s3, bias[o + 3u]);
}
