// Average pooling over windows of ROWS x COLUMNS that do not overlap. Planes are (N * C), windows PH x PW. Invocations
// along x share a plane, and take planes in turn.

override PLANES: u32 = 2048u;  // N * C
override HEIGHT: u32 = 8u;
override WIDTH: u32 = 8u;
override ROWS: u32 = 2u;
override COLUMNS: u32 = 2u;

@group(0) @binding(0) var<storage, read> x: array<f32>;        // (PLANES, H, W)
@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // (PLANES, PH, PW)
@group(0) @binding(2) var<storage, read> d_y: array<f32>;      // (PLANES, PH, PW)
@group(0) @binding(3) var<storage, read_write> d_x: array<f32>; // (PLANES, H, W)

// y = the window's sum over its size. An invocation per window.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let pooled_w = WIDTH / COLUMNS;
    let windows = HEIGHT / ROWS * pooled_w;
    if (id.x >= windows) {
        return;
    }
    let corner = id.x / pooled_w * ROWS * WIDTH + id.x % pooled_w * COLUMNS;
    for (var plane = id.y; plane < PLANES; plane += groups.y) {
        var sum = 0.0;
        for (var row = 0u; row < ROWS; row++) {
            for (var column = 0u; column < COLUMNS; column++) {
                sum += x[plane * HEIGHT * WIDTH + corner + row * WIDTH + column];
            }
        }
        y[plane * windows + id.x] = sum / f32(ROWS * COLUMNS);
    }
}

// d_x is the window's d_y over its size, 0 in rows and columns that fill no window. An invocation per element of d_x.
@compute @workgroup_size(64)
fn backward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    let pooled_w = WIDTH / COLUMNS;
    let pooled_h = HEIGHT / ROWS;
    if (id.x >= HEIGHT * WIDTH) {
        return;
    }
    let py = id.x / WIDTH / ROWS;
    let px = id.x % WIDTH / COLUMNS;
    for (var plane = id.y; plane < PLANES; plane += groups.y) {
        var d = 0.0;
        if (py < pooled_h && px < pooled_w) {
            d = d_y[(plane * pooled_h + py) * pooled_w + px] / f32(ROWS * COLUMNS);
        }
        d_x[plane * HEIGHT * WIDTH + id.x] = d;
    }
}
