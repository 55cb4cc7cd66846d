// 3x3 convolution, bias, ReLU and 2x2 max pooling in one kernel, forward and backward.
//
// A pooling window is 2x2 outputs of the convolution: one vec4 here, which stays in registers from the bias to the maximum.
// Only the maximum and its place are written. Nothing is computed for rows and columns that fill no window.
//
// Multiply-adds are cheap and loads are not, so each invocation takes a strip of neighbouring windows and a tile of
// channels: a loaded weight serves 4 * WINDOWS multiply-adds, a loaded input about 4 * TILE. Of each input channel it does all
// there is to do at once, all nine taps of one output channel after the other, while their sums are in registers.
//
// What is stored passes through the first place of an array, in a loop that moves the others up: code for each of the results
// would be most of what there is to compile, and a variable as index would drive the whole array out of the registers.
//
// The loops that take the time ask at their end: what follows a `break` in a loop llvmpipe executes all the same, for no lane, so
// that a `for` runs its body once more than it counts.
//
// Window element q is row q / 2, column q % 2. Positions count from the corner of the padded input.

override BATCH: u32 = 32u;         // N
override CHANNELS: u32 = 32u;      // C
override HEIGHT: u32 = 13u;        // H
override WIDTH: u32 = 13u;         // W
override OUT_CHANNELS: u32 = 64u;  // O
override PADDING: u32 = 0u;        // P

const WINDOWS: u32 = 1u;     // neighbouring windows per invocation in forward and backward_params
const PATCHES: u32 = 1u;     // neighbouring 2x2 patches of d_x per invocation in backward_input
const TILE: u32 = 8u;        // output channels per invocation in forward, input channels in backward_input
const PARAM_TILE: u32 = 1u;  // output channels per invocation in backward_params; divides PACKED or is a multiple of it
const PACKED: u32 = 8u;      // winners in a word, 4 bits each; divides TILE
const DEAD: u32 = 4u;        // winner of a window that ReLU cut to 0: no gradient passes

const GROUP: u32 = 64u;      // invocations of a workgroup
const C_LANES: u32 = 8u;     // in backward_params: along the input channels
const SLICES: u32 = 32u;     // and along the batch's windows

@group(0) @binding(0) var<storage, read> x: array<f32>;               // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<f32>;          // (O, C, 3, 3)
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;         // (N, O, PH, PW)
@group(0) @binding(4) var<storage, read_write> winner: array<u32>;    // (N, O / PACKED, PH, PW), q or DEAD of each channel
@group(0) @binding(5) var<storage, read> d_y: array<f32>;             // (N, O, PH, PW)
@group(0) @binding(6) var<storage, read_write> d_x: array<f32>;       // (N, C, H, W)
@group(0) @binding(7) var<storage, read_write> d_weight: array<f32>;  // (O, C, 3, 3)
@group(0) @binding(8) var<storage, read_write> d_bias: array<f32>;    // (O)

fn pooled_height() -> u32 { return (HEIGHT + 2u * PADDING - 2u) / 2u; }
fn pooled_width() -> u32 { return (WIDTH + 2u * PADDING - 2u) / 2u; }
fn strips(length: u32, strip: u32) -> u32 { return (length + strip - 1u) / strip; }
fn words() -> u32 { return strips(OUT_CHANNELS, PACKED); }

const COLUMNS: u32 = 2u * WINDOWS + 2u;

// Nothing lies behind what is read.
const INSIDE: u32 = 0xffffffffu;
fn whole_strips() -> bool { return pooled_width() % WINDOWS == 0u; }

// A row of the input under a strip of windows: x[n, c, row - P, column - P + k], 0 outside. An unsigned row above the image wraps
// to a large one.
fn load_row(plane: u32, row: u32, column: u32) -> array<f32, COLUMNS> {
    let r = row - PADDING;
    let inside = PADDING == 0u && whole_strips();
    let last = select(BATCH * CHANNELS * HEIGHT * WIDTH - 1u, INSIDE, inside);
    let start = (plane * HEIGHT + r) * WIDTH + column - PADDING;
    var values: array<f32, COLUMNS>;
    for (var k = 0u; k < COLUMNS; k++) {
        values[k] = select(0.0, x[min(start + k, last)], inside || (r < HEIGHT && column + k - PADDING < WIDTH));
    }
    return values;
}

// The kernel of a pair of output and input channel.
fn load_taps(o: u32, c: u32) -> array<f32, 9> {
    var taps: array<f32, 9>;
    for (var e = 0u; e < 9u; e++) {
        taps[e] = weight[(o * CHANNELS + c) * 9u + e];
    }
    return taps;
}

// y[n,o,w] = max(0, max_q(bias[o] + sum_{c,i,j} weight[o,c,i,j] * x[n, c, 2 py + q/2 + i, 2 px + q%2 + j]))
// id.x: strips of (N, PH, PW); id.y: tiles of O.
@compute @workgroup_size(GROUP)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    let across = strips(pooled_width(), WINDOWS);
    // The last do the same work.
    let strip = min(id.x, BATCH * pooled_height() * across - 1u);
    let n = strip / (pooled_height() * across);
    let py = strip / across % pooled_height();
    let px = strip % across * WINDOWS;
    let o0 = id.y * TILE;
    var sums: array<array<vec4f, WINDOWS>, TILE>;
    for (var t = 0u; t < TILE; t++) {
        for (var v = 0u; v < WINDOWS; v++) {
            sums[t][v] = vec4f(bias[min(o0 + t, OUT_CHANNELS - 1u)]);
        }
    }
    var c = 0u;
    loop {
        let plane = n * CHANNELS + c;
        var rows: array<array<f32, COLUMNS>, 4>;
        for (var r = 0u; r < 4u; r++) {
            rows[r] = load_row(plane, 2u * py + r, 2u * px);
        }
        for (var t = 0u; t < TILE; t++) {
            let tap = load_taps(min(o0 + t, OUT_CHANNELS - 1u), c);
            for (var v = 0u; v < WINDOWS; v++) {
                for (var e = 0u; e < 9u; e++) {
                    let i = e / 3u;
                    let k = 2u * v + e % 3u;
                    sums[t][v] += tap[e] * vec4f(rows[i][k], rows[i][k + 1u], rows[i + 1u][k], rows[i + 1u][k + 1u]);
                }
            }
        }
        c++;
        if (c == CHANNELS) { break; }
    }
    for (var v = 0u; v < WINDOWS; v++) {
        let at = py * pooled_width() + px + v;
        var packed: array<u32, TILE / PACKED>;
        for (var t = 0u; t < TILE; t++) {
            let s = sums[t][0];
            // `>` keeps the first of equal values, PyTorch's rule for ties.
            var most = s[0];
            var q = 0u;
            for (var k = 1u; k < 4u; k++) {
                q = select(q, k, s[k] > most);
                most = max(most, s[k]);
            }
            packed[t / PACKED] |= select(DEAD, q, most > 0.0) << (4u * (t % PACKED));
            if (px + v < pooled_width() && o0 + t < OUT_CHANNELS) {
                y[(n * OUT_CHANNELS + o0 + t) * pooled_height() * pooled_width() + at] = max(most, 0.0);
            }
            for (var next = 1u; next < WINDOWS; next++) {
                sums[t][next - 1u] = sums[t][next];
            }
        }
        for (var h = 0u; h < TILE / PACKED; h++) {
            let word = o0 / PACKED + h;
            if (px + v < pooled_width() && word < words()) {
                winner[(n * words() + word) * pooled_height() * pooled_width() + at] = packed[h];
            }
        }
    }
}

// The gradient of the convolution's outputs is d_y at each window's winner and 0 elsewhere. d_x is its convolution with the
// kernels turned around:
// d_x[n,c,r,k] = sum_{o,i,j} weight[o,c,i,j] * d[n, o, r - i, k - j], so that a patch takes four windows: its own, and
// those above, to the left, and both.
// id.x: strips of (N, PH + 1, PW + 1) patches; id.y: tiles of C.
const PATCH_COLUMNS: u32 = 2u * PATCHES + 2u;
@compute @workgroup_size(GROUP)
fn backward_input(@builtin(global_invocation_id) id: vec3u) {
    let across = strips(pooled_width() + 1u, PATCHES);
    let down = pooled_height() + 1u;
    let strip = min(id.x, BATCH * down * across - 1u);
    let n = strip / (down * across);
    let py = strip / across % down;
    let px = strip % across * PATCHES;
    let c0 = id.y * TILE;
    var sums: array<array<vec4f, PATCHES>, TILE>;
    var word = 0u;
    loop {
        // The windows of the rows above and of the patches' own, from one to the left on.
        var winners: array<array<u32, PATCHES + 1u>, 2>;
        for (var a = 0u; a < 2u; a++) {
            let start = ((n * words() + word) * pooled_height() + py + a - 1u) * pooled_width() + px - 1u;
            for (var v = 0u; v <= PATCHES; v++) {
                winners[a][v] = winner[min(start + v, BATCH * words() * pooled_height() * pooled_width() - 1u)];
            }
        }
        var o = word * PACKED;
        loop {
            var rows: array<array<f32, PATCH_COLUMNS>, 4>;
            for (var a = 0u; a < 2u; a++) {
                let start = ((n * OUT_CHANNELS + o) * pooled_height() + py + a - 1u) * pooled_width() + px - 1u;
                let last = BATCH * OUT_CHANNELS * pooled_height() * pooled_width() - 1u;
                for (var v = 0u; v <= PATCHES; v++) {
                    let inside = py + a - 1u < pooled_height() && px + v - 1u < pooled_width();
                    let d = select(0.0, d_y[min(start + v, last)], inside);
                    let q = (winners[a][v] >> (4u * (o % PACKED))) & 15u;
                    rows[2u * a][2u * v] = select(0.0, d, q == 0u);
                    rows[2u * a][2u * v + 1u] = select(0.0, d, q == 1u);
                    rows[2u * a + 1u][2u * v] = select(0.0, d, q == 2u);
                    rows[2u * a + 1u][2u * v + 1u] = select(0.0, d, q == 3u);
                }
            }
            for (var t = 0u; t < TILE; t++) {
                let tap = load_taps(o, min(c0 + t, CHANNELS - 1u));
                for (var v = 0u; v < PATCHES; v++) {
                    for (var e = 0u; e < 9u; e++) {
                        let i = e / 3u;
                        let k = 2u * v + e % 3u;
                        sums[t][v] += tap[8u - e] * vec4f(rows[i][k], rows[i][k + 1u], rows[i + 1u][k], rows[i + 1u][k + 1u]);
                    }
                }
            }
            o++;
            if (o == min((word + 1u) * PACKED, OUT_CHANNELS)) { break; }
        }
        word++;
        if (word == words()) { break; }
    }
    for (var t = 0u; t < TILE; t++) {
        for (var v = 0u; v < PATCHES; v++) {
            for (var q = 0u; q < 4u; q++) {
                store_d_x(n, c0 + t, 2u * py + q / 2u, 2u * (px + v) + q % 2u, sums[0][0][q]);
            }
            for (var next = 1u; next < PATCHES; next++) {
                sums[0][next - 1u] = sums[0][next];
            }
        }
        for (var next = 1u; next < TILE; next++) {
            sums[next - 1u] = sums[next];
        }
    }
    // A row and a column that fill no window: at most one of each.
    let last_row = py == pooled_height();
    let last_column = px + PATCHES > pooled_width();
    for (var c = c0; c < min(c0 + TILE, CHANNELS); c++) {
        for (var k = 0u; k < select(0u, 2u * PATCHES + 1u, last_row); k++) {
            store_d_x(n, c, 2u * py + 2u, 2u * px + k, 0.0);
        }
        for (var a = 0u; a < select(0u, 2u, last_column); a++) {
            store_d_x(n, c, 2u * py + a, 2u * pooled_width() + 2u, 0.0);
        }
    }
}

fn store_d_x(n: u32, c: u32, row: u32, column: u32, value: f32) {
    let r = row - PADDING;
    let k = column - PADDING;
    if (c < CHANNELS && r < HEIGHT && k < WIDTH) {
        d_x[((n * CHANNELS + c) * HEIGHT + r) * WIDTH + k] = value;
    }
}

// Bit `k`, by a test of the sign, which is what a vector unit chooses by. Of a winner: 0, its column; 1, its row; 2, that it is DEAD.
fn bit(word: u32, k: u32) -> bool { return bitcast<i32>(word << (31u - k)) < 0; }

// The words of winners that hold a tile of output channels.
const WORDS: u32 = (PARAM_TILE + PACKED - 1u) / PACKED;

// d_weight[o,c,i,j] = sum_{w,q} d[n,o,w][q] * x[n, c, 2 py + q/2 + i, 2 px + q%2 + j], d_bias[o] = sum_{w,q} d[n,o,w][q].
// Each of a workgroup's SLICES takes columns of windows, from top to bottom, in turns: the rows of the input that two
// neighbouring windows share are loaded once. Workgroups: tiles of C, tiles of O.
var<workgroup> parts: array<array<array<f32, C_LANES>, SLICES>, 10>;

@compute @workgroup_size(C_LANES * SLICES)
fn backward_params(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
    let lane = local % C_LANES;
    let slice = local / C_LANES;
    let c = group.x * C_LANES + lane;
    let o0 = group.y * PARAM_TILE;
    let across = strips(pooled_width(), WINDOWS);
    var sums: array<array<vec3f, 3>, PARAM_TILE>;
    var bias_sums: array<f32, PARAM_TILE>;
    for (var strip = slice; strip < BATCH * across; strip += SLICES) {
        let n = strip / across;
        let px = strip % across * WINDOWS;
        let plane = n * CHANNELS + min(c, CHANNELS - 1u);
        var rows: array<array<f32, COLUMNS>, 4>;
        rows[2] = load_row(plane, 0u, 2u * px);
        rows[3] = load_row(plane, 1u, 2u * px);
        var py = 0u;
        loop {
            rows[0] = rows[2];
            rows[1] = rows[3];
            rows[2] = load_row(plane, 2u * py + 2u, 2u * px);
            rows[3] = load_row(plane, 2u * py + 3u, 2u * px);
            let at = py * pooled_width() + px;
            var codes: array<array<u32, WORDS>, WINDOWS>;
            for (var h = 0u; h < WORDS; h++) {
                let word = min(o0 / PACKED + h, words() - 1u);
                let last = select(BATCH * words() * pooled_height() * pooled_width() - 1u, INSIDE, whole_strips());
                let start = (n * words() + word) * pooled_height() * pooled_width() + at;
                for (var v = 0u; v < WINDOWS; v++) {
                    codes[v][h] = winner[min(start + v, last)] >> (4u * (o0 % PACKED));
                }
            }
            var d: array<array<f32, PARAM_TILE>, WINDOWS>;
            for (var t = 0u; t < PARAM_TILE; t++) {
                let o = min(o0 + t, OUT_CHANNELS - 1u);
                let last = select(BATCH * OUT_CHANNELS * pooled_height() * pooled_width() - 1u, INSIDE, whole_strips());
                let start = (n * OUT_CHANNELS + o) * pooled_height() * pooled_width() + at;
                for (var v = 0u; v < WINDOWS; v++) {
                    d[v][t] = d_y[min(start + v, last)];
                }
            }
            for (var t = 0u; t < PARAM_TILE; t++) {
                for (var v = 0u; v < WINDOWS; v++) {
                    let code = codes[v][t / PACKED];
                    let q = 4u * (t % PACKED); // its place in the word
                    let live = !bit(code, q + 2u) && px + v < pooled_width();
                    let dq = select(0.0, d[v][t], live);
                    // What each tap multiplied in the winner: a choice of rows, then of columns.
                    for (var i = 0u; i < 3u; i++) {
                        let j = 2u * v;
                        let row = select(vec4f(rows[i][j], rows[i][j + 1u], rows[i][j + 2u], rows[i][j + 3u]),
                            vec4f(rows[i + 1u][j], rows[i + 1u][j + 1u], rows[i + 1u][j + 2u], rows[i + 1u][j + 3u]), bit(code, q + 1u));
                        sums[t][i] += dq * select(row.xyz, row.yzw, bit(code, q));
                    }
                    bias_sums[t] += dq;
                }
            }
            py++;
            if (py == pooled_height()) { break; }
        }
    }
    // The slices' sums are added up in order, one output channel at a time, as workgroup memory is small.
    for (var t = 0u; t < PARAM_TILE; t++) {
        for (var k = 0u; k < 9u; k++) {
            parts[k][slice][lane] = sums[0][k / 3u][k % 3u];
        }
        parts[9][slice][lane] = bias_sums[0];
        workgroupBarrier();
        for (var e = local; e < 10u * C_LANES; e += C_LANES * SLICES) {
            var sum = 0.0;
            for (var s = 0u; s < SLICES; s++) {
                sum += parts[e / C_LANES][s][e % C_LANES];
            }
            store_gradient(o0 + t, group.x * C_LANES + e % C_LANES, e / C_LANES, sum);
        }
        workgroupBarrier();
        for (var next = 1u; next < PARAM_TILE; next++) {
            sums[next - 1u] = sums[next];
            bias_sums[next - 1u] = bias_sums[next];
        }
    }
}

// Tap k of the weight's gradient; k = 9 is the bias's.
fn store_gradient(o: u32, c: u32, k: u32, value: f32) {
    if (o < OUT_CHANNELS && c < CHANNELS && k < 9u) {
        d_weight[(o * CHANNELS + c) * 9u + k] = value;
    }
    if (o < OUT_CHANNELS && c == 0u && k == 9u) {
        d_bias[o] = value;
    }
}
