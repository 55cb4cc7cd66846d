// Max pooling over SIZE x SIZE windows that do not overlap. Planes are (N * C), windows PH x PW.
//
// In `forward` an invocation finds the maximum of one window, and keeps where it was. In `backward` an invocation
// computes one element of d_x, by asking whether it won its window: so each is written once, by one invocation, and
// nothing has to be cleared before. Invocations along x share a plane, and take planes in turn, since a dispatch has at
// most 65,535 workgroups in a dimension.

override PLANES: u32 = 2048u;  // N * C
override HEIGHT: u32 = 11u;
override WIDTH: u32 = 11u;
override SIZE: u32 = 2u;

@group(0) @binding(0) var<storage, read> x: array<f32>;              // (PLANES, H, W)
@group(0) @binding(1) var<storage, read_write> y: array<f32>;        // (PLANES, PH, PW)
@group(0) @binding(2) var<storage, read_write> winner: array<u32>;   // (PLANES, PH, PW)
@group(0) @binding(3) var<storage, read> d_y: array<f32>;            // (PLANES, PH, PW)
@group(0) @binding(4) var<storage, read_write> d_x: array<f32>;      // (PLANES, H, W)

// By the bits, since WGSL lets a compiler assume that comparisons meet no NaN.
fn is_nan(value: f32) -> bool { return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u; }

// y = max over the window; winner is where in the plane it was. `>` keeps the first of equal values, and a NaN wins, as
// in PyTorch, the last of several.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let pooled_w = WIDTH / SIZE;
    let windows = HEIGHT / SIZE * pooled_w;
    if (id.x >= windows) {
        return;
    }
    for (var plane = id.y; plane < PLANES; plane += groups.y) {
        let corner = id.x / pooled_w * SIZE * WIDTH + id.x % pooled_w * SIZE;
        var best = corner;
        var most = x[plane * HEIGHT * WIDTH + corner];
        for (var row = 0u; row < SIZE; row++) {
            for (var column = 0u; column < SIZE; column++) {
                let at = corner + row * WIDTH + column;
                let value = x[plane * HEIGHT * WIDTH + at];
                if (is_nan(value) || (value > most && !is_nan(most))) {
                    most = value;
                    best = at;
                }
            }
        }
        y[plane * windows + id.x] = most;
        winner[plane * windows + id.x] = best;
    }
}

// d_x is d_y where the element won its window, 0 elsewhere. One invocation per element of d_x, so that each is written
// once.
@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let pooled_w = WIDTH / SIZE;
    let pooled_h = HEIGHT / SIZE;
    if (id.x >= HEIGHT * WIDTH) {
        return;
    }
    let py = id.x / WIDTH / SIZE;
    let px = id.x % WIDTH / SIZE;
    for (var plane = id.y; plane < PLANES; plane += groups.y) {
        var d = 0.0;
        if (py < pooled_h && px < pooled_w) {
            let window = (plane * pooled_h + py) * pooled_w + px;
            d = select(0.0, d_y[window], winner[window] == id.x);
        }
        d_x[plane * HEIGHT * WIDTH + id.x] = d;
    }
}
