// 3x3 convolution, bias, ReLU and 2x2 max pooling in one kernel, forward and backward.
//
// A pooling window is 2x2 outputs of the convolution. They read one 4x4 field of the input and the same nine weights, so an
// invocation takes whole windows: the four outputs are one vec4 that stays in registers from the bias to the maximum, and
// only the maximum and its place are written. A vec4 times one weight is four multiply-adds for one load, and each
// field and each weight serve all combinations of WINDOWS and TILE: loads, not arithmetic, are what a kernel like this
// waits for.
//
// Window element q is row q / 2, column q % 2. Rows and columns of the convolution's output that fill no window are
// never computed.

override BATCH: u32 = 32u;         // N
override CHANNELS: u32 = 32u;      // C
override HEIGHT: u32 = 13u;        // H
override WIDTH: u32 = 13u;         // W
override OUT_CHANNELS: u32 = 64u;  // O
override PADDING: u32 = 0u;        // P
override SLICES: u32 = 32u;        // parts into which backward_params cuts the batch's windows

const WINDOWS: u32 = 2u;   // windows per invocation
const TILE: u32 = 8u;      // output channels per invocation
const IN_TILE: u32 = 4u;   // input channels per invocation in backward_input
const DEAD: u32 = 4u;      // winner of a window that ReLU cut to 0: no gradient passes

@group(0) @binding(0) var<storage, read> x: array<f32>;               // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<f32>;          // (O, C, 3, 3)
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;         // (N, O, PH, PW)
@group(0) @binding(4) var<storage, read_write> winner: array<u32>;    // (N, O, PH, PW), q or DEAD
@group(0) @binding(5) var<storage, read> d_y: array<f32>;             // (N, O, PH, PW)
@group(0) @binding(6) var<storage, read_write> d_fields: array<f32>;  // (N, C, PH, PW, 4, 4)
@group(0) @binding(7) var<storage, read_write> d_x: array<f32>;       // (N, C, H, W)
@group(0) @binding(8) var<storage, read_write> parts: array<f32>;     // (SLICES, O*C*9 + O)
@group(0) @binding(9) var<storage, read_write> d_weight: array<f32>;  // (O, C, 3, 3)
@group(0) @binding(10) var<storage, read_write> d_bias: array<f32>;   // (O)

fn pooled_height() -> u32 { return (HEIGHT + 2u * PADDING - 2u) / 2u; }
fn pooled_width() -> u32 { return (WIDTH + 2u * PADDING - 2u) / 2u; }
fn windows() -> u32 { return pooled_height() * pooled_width(); }

// x[n, c, row - P, column - P], 0 in the padding. An unsigned row above the image wraps to a large one.
fn padded_x(plane: u32, row: u32, column: u32) -> f32 {
    let r = row - PADDING;
    let k = column - PADDING;
    if (PADDING == 0u || (r < HEIGHT && k < WIDTH)) {
        return x[(plane * HEIGHT + r) * WIDTH + k];
    }
    return 0.0;
}

alias Field = array<array<f32, 4>, 4>;

// The 4x4 inputs under window `w` of plane n * C + c.
fn load_field(plane: u32, w: u32) -> Field {
    var field: Field;
    for (var i = 0u; i < 4u; i++) {
        for (var j = 0u; j < 4u; j++) {
            field[i][j] = padded_x(plane, w / pooled_width() * 2u + i, w % pooled_width() * 2u + j);
        }
    }
    return field;
}

// What tap (i, j) of the kernel multiplies in the four outputs of a window.
fn under_tap(field: Field, i: u32, j: u32) -> vec4f {
    return vec4f(field[i][j], field[i][j + 1u], field[i + 1u][j], field[i + 1u][j + 1u]);
}

// The gradient of a window's four convolution outputs: d at the winner, 0 elsewhere.
fn unpool(d: f32, q: u32) -> vec4f {
    return select(vec4f(0.0), vec4f(d), vec4u(q) == vec4u(0u, 1u, 2u, 3u));
}

// y[n,o,w] = max(0, max_q(bias[o] + sum_{c,i,j} weight[o,c,i,j] * field[n,c,w][q/2 + i][q%2 + j]))
// id.x: WINDOWS windows out of (N, PH, PW); id.y: TILE channels out of O.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    let first = id.x * WINDOWS;
    let o0 = id.y * TILE;
    let last = BATCH * windows() - 1u;
    if (first > last) {
        return;
    }
    var sums: array<array<vec4f, WINDOWS>, TILE>;
    for (var t = 0u; t < TILE; t++) {
        for (var v = 0u; v < WINDOWS; v++) {
            sums[t][v] = vec4f(bias[min(o0 + t, OUT_CHANNELS - 1u)]);
        }
    }
    for (var c = 0u; c < CHANNELS; c++) {
        var fields: array<Field, WINDOWS>;
        for (var v = 0u; v < WINDOWS; v++) {
            let w = min(first + v, last);
            fields[v] = load_field(w / windows() * CHANNELS + c, w % windows());
        }
        for (var t = 0u; t < TILE; t++) {
            let kernel = (min(o0 + t, OUT_CHANNELS - 1u) * CHANNELS + c) * 9u;
            for (var i = 0u; i < 3u; i++) {
                for (var j = 0u; j < 3u; j++) {
                    let tap = weight[kernel + i * 3u + j];
                    for (var v = 0u; v < WINDOWS; v++) {
                        sums[t][v] += tap * under_tap(fields[v], i, j);
                    }
                }
            }
        }
    }
    for (var v = 0u; v < WINDOWS; v++) {
        let w = first + v;
        for (var t = 0u; t < TILE; t++) {
            if (w <= last && o0 + t < OUT_CHANNELS) {
                let s = sums[t][v];
                // `>` keeps the first of equal values, PyTorch's rule for ties.
                var most = s[0];
                var q = 0u;
                for (var k = 1u; k < 4u; k++) {
                    if (s[k] > most) {
                        most = s[k];
                        q = k;
                    }
                }
                let at = (w / windows() * OUT_CHANNELS + o0 + t) * windows() + w % windows();
                y[at] = select(most, 0.0, most <= 0.0);
                winner[at] = select(q, DEAD, most <= 0.0);
            }
        }
    }
}

// The gradient of each window's 4x4 field: d_fields[n,c,w][a][b] = sum_{o,q} weight[o, c, a - q/2, b - q%2] * d[n,o,w][q].
// Fields overlap: fold_input adds them up. id.x: WINDOWS windows out of (N, PH, PW); id.y: IN_TILE channels out of C.
@compute @workgroup_size(64)
fn backward_input(@builtin(global_invocation_id) id: vec3u) {
    let first = id.x * WINDOWS;
    let c0 = id.y * IN_TILE;
    let last = BATCH * windows() - 1u;
    if (first > last) {
        return;
    }
    var sums: array<array<Field, WINDOWS>, IN_TILE>;
    for (var o = 0u; o < OUT_CHANNELS; o++) {
        var d: array<vec4f, WINDOWS>;
        for (var v = 0u; v < WINDOWS; v++) {
            let w = min(first + v, last);
            let at = (w / windows() * OUT_CHANNELS + o) * windows() + w % windows();
            d[v] = unpool(d_y[at], winner[at]);
        }
        for (var t = 0u; t < IN_TILE; t++) {
            let kernel = (o * CHANNELS + min(c0 + t, CHANNELS - 1u)) * 9u;
            for (var i = 0u; i < 3u; i++) {
                for (var j = 0u; j < 3u; j++) {
                    let tap = weight[kernel + i * 3u + j];
                    for (var v = 0u; v < WINDOWS; v++) {
                        for (var q = 0u; q < 4u; q++) {
                            sums[t][v][i + q / 2u][j + q % 2u] += tap * d[v][q];
                        }
                    }
                }
            }
        }
    }
    for (var t = 0u; t < IN_TILE; t++) {
        for (var v = 0u; v < WINDOWS; v++) {
            let w = first + v;
            if (w <= last && c0 + t < CHANNELS) {
                let at = (w / windows() * CHANNELS + c0 + t) * windows() + w % windows();
                for (var k = 0u; k < 16u; k++) {
                    d_fields[at * 16u + k] = sums[t][v][k / 4u][k % 4u];
                }
            }
        }
    }
}

// d_x[n,c,r,k]: the sum of the at most four fields that the element lies in. id.x: element of a plane; id.y: plane of (N, C).
@compute @workgroup_size(64)
fn fold_input(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    if (id.x >= HEIGHT * WIDTH) {
        return;
    }
    let row = id.x / WIDTH + PADDING;
    let column = id.x % WIDTH + PADDING;
    for (var plane = id.y; plane < BATCH * CHANNELS; plane += groups.y) {
        var sum = 0.0;
        for (var i = 0u; i < 2u; i++) {
            for (var j = 0u; j < 2u; j++) {
                let py = row / 2u - i; // wraps above the image
                let px = column / 2u - j;
                if (py < pooled_height() && px < pooled_width()) {
                    let window = (plane * pooled_height() + py) * pooled_width() + px;
                    sum += d_fields[window * 16u + (row - py * 2u) * 4u + column - px * 2u];
                }
            }
        }
        d_x[plane * HEIGHT * WIDTH + id.x] = sum;
    }
}

// parts[s] = the gradients of weight and bias from slice s of the batch's windows:
// d_weight[o,c,i,j] = sum_{w,q} d[n,o,w][q] * field[n,c,w][q/2 + i][q%2 + j], d_bias[o] = sum_{w,q} d[n,o,w][q].
// id.x: (SLICES, tiles of O, C), so that neighbours read the same gradients.
@compute @workgroup_size(64)
fn backward_params(@builtin(global_invocation_id) id: vec3u) {
    let c = id.x % CHANNELS;
    let tiles = (OUT_CHANNELS + TILE - 1u) / TILE;
    let o0 = id.x / CHANNELS % tiles * TILE;
    let slice = id.x / (CHANNELS * tiles);
    if (slice >= SLICES) {
        return;
    }
    let total = BATCH * windows();
    let share = (total + SLICES - 1u) / SLICES;
    var sums: array<array<f32, 9>, TILE>;
    var bias_sums: array<f32, TILE>;
    for (var w = slice * share; w < min((slice + 1u) * share, total); w++) {
        let n = w / windows();
        let field = load_field(n * CHANNELS + c, w % windows());
        for (var t = 0u; t < TILE; t++) {
            let at = (n * OUT_CHANNELS + min(o0 + t, OUT_CHANNELS - 1u)) * windows() + w % windows();
            let d = unpool(d_y[at], winner[at]);
            for (var i = 0u; i < 3u; i++) {
                for (var j = 0u; j < 3u; j++) {
                    sums[t][i * 3u + j] += dot(d, under_tap(field, i, j));
                }
            }
            bias_sums[t] += dot(d, vec4f(1.0));
        }
    }
    let base = slice * (OUT_CHANNELS * CHANNELS * 9u + OUT_CHANNELS);
    for (var t = 0u; t < TILE; t++) {
        let o = o0 + t;
        if (o < OUT_CHANNELS) {
            for (var k = 0u; k < 9u; k++) {
                parts[base + (o * CHANNELS + c) * 9u + k] = sums[t][k];
            }
            if (c == 0u) {
                parts[base + OUT_CHANNELS * CHANNELS * 9u + o] = bias_sums[t];
            }
        }
    }
}

// d_weight and d_bias: the sums of the slices' parts, always in the same order.
@compute @workgroup_size(64)
fn sum_params(@builtin(global_invocation_id) id: vec3u) {
    let weights = OUT_CHANNELS * CHANNELS * 9u;
    let stride = weights + OUT_CHANNELS;
    if (id.x >= stride) {
        return;
    }
    var sum = 0.0;
    for (var s = 0u; s < SLICES; s++) {
        sum += parts[s * stride + id.x];
    }
    if (id.x < weights) {
        d_weight[id.x] = sum;
    } else {
        d_bias[id.x - weights] = sum;
    }
}
