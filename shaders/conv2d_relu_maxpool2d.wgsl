// 3x3 convolution, bias, ReLU and 2x2 max pooling in one kernel, forward and backward.
//
// A pooling window is 2x2 outputs of the convolution: one vec4, in the order (0, 0), (0, 1), (1, 0), (1, 1). The
// outputs of a window depend on a 4x4 field of the input, four vec4 rows. Of each window only the maximum is written,
// and which of the four it was; so the convolution's outputs never reach memory, and rows and columns that fill no
// window are never computed.
//
// Loads cost more than multiply-adds. So an invocation computes two neighbouring windows of four output channels: of
// each input channel it loads 4x6 numbers and four kernels, 60 loads for 288 multiply-adds. The workgroup's 64
// invocations take neighbouring windows, which lie side by side in memory, and the same kernels, which a GPU then loads
// once for all.
//
// Sums have names, not indices: they must stay in registers, and compilers disagree about arrays in registers.
// Rows and columns count from the corner of the padded input.

override BATCH: u32 = 32u;         // N
override CHANNELS: u32 = 32u;      // C
override HEIGHT: u32 = 13u;        // H
override WIDTH: u32 = 13u;         // W
override OUT_CHANNELS: u32 = 64u;  // O
override PADDING: u32 = 0u;        // P
override C_LANES: u32 = 8u;        // input channels of a workgroup of backward_params, 1, 2, 4 or 8

const WINDOWS: u32 = 2u; // neighbouring windows of an invocation in forward, 2x2 patches in backward_input
const TILE: u32 = 4u;    // channels of an invocation; also the winners in a word, a byte each
const DEAD: u32 = 4u;    // winner of a window that ReLU cut to 0: no gradient passes
const GROUP: u32 = 256u; // invocations of a workgroup of backward_params

@group(0) @binding(0) var<storage, read> x: array<f32>;               // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<f32>;          // (O, C, 3, 3)
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;         // (N, O, PH, PW)
@group(0) @binding(4) var<storage, read_write> winner: array<u32>;    // (N, O / TILE, PH, PW), 0 to 3 or DEAD of each channel
@group(0) @binding(5) var<storage, read> d_y: array<f32>;             // (N, O, PH, PW)
@group(0) @binding(6) var<storage, read_write> d_x: array<f32>;       // (N, C, H, W)
@group(0) @binding(7) var<storage, read_write> d_weight: array<f32>;  // (O, C, 3, 3)
@group(0) @binding(8) var<storage, read_write> d_bias: array<f32>;    // (O)

fn pooled_height() -> u32 { return (HEIGHT + 2u * PADDING - 2u) / 2u; }
fn pooled_width() -> u32 { return (WIDTH + 2u * PADDING - 2u) / 2u; }
fn windows() -> u32 { return pooled_height() * pooled_width(); }
fn words() -> u32 { return (OUT_CHANNELS + TILE - 1u) / TILE; }

struct Field { r0: vec4f, r1: vec4f, r2: vec4f, r3: vec4f } // 4x4 numbers around a 2x2 window
struct Kernel { r0: vec3f, r1: vec3f, r2: vec3f }           // 3x3 taps
struct Pair { left: vec4f, right: vec4f }                   // two neighbouring windows, 2x2 each

// What lies at `row`, `column` of the padded input. An unsigned row above the image wraps around to a large one, so
// that one comparison finds what is above and below.
fn x_at(plane: u32, row: u32, column: u32) -> f32 {
    let r = row - PADDING;
    let k = column - PADDING;
    return select(0.0, x[(plane * HEIGHT + min(r, HEIGHT - 1u)) * WIDTH + min(k, WIDTH - 1u)], r < HEIGHT && k < WIDTH);
}

// Four neighbours in a row. Without padding all of them are inside.
fn x_four(plane: u32, row: u32, column: u32) -> vec4f {
    if (PADDING > 0u) {
        return vec4f(x_at(plane, row, column), x_at(plane, row, column + 1u),
            x_at(plane, row, column + 2u), x_at(plane, row, column + 3u));
    }
    let i = (plane * HEIGHT + row) * WIDTH + column;
    return vec4f(x[i], x[i + 1u], x[i + 2u], x[i + 3u]);
}

// Two neighbours. Without padding only those of a window that is not stored may be outside: they must not lie behind
// the last.
fn x_two(plane: u32, row: u32, column: u32) -> vec2f {
    if (PADDING > 0u) {
        return vec2f(x_at(plane, row, column), x_at(plane, row, column + 1u));
    }
    let i = min((plane * HEIGHT + row) * WIDTH + column, BATCH * CHANNELS * HEIGHT * WIDTH - 2u);
    return vec2f(x[i], x[i + 1u]);
}

// weight[o, c]
fn kernel(o: u32, c: u32) -> Kernel {
    let at = (min(o, OUT_CHANNELS - 1u) * CHANNELS + min(c, CHANNELS - 1u)) * 9u;
    return Kernel(vec3f(weight[at], weight[at + 1u], weight[at + 2u]),
        vec3f(weight[at + 3u], weight[at + 4u], weight[at + 5u]),
        vec3f(weight[at + 6u], weight[at + 7u], weight[at + 8u]));
}

// Half a turn.
fn turned(k: Kernel) -> Kernel { return Kernel(k.r2.zyx, k.r1.zyx, k.r0.zyx); }

// `sum` and the window's four outputs: each of the nine taps times the 2x2 numbers of the field that it meets.
fn convolve(sum: vec4f, f: Field, k: Kernel) -> vec4f {
    return sum
        + k.r0.x * vec4f(f.r0.xy, f.r1.xy) + k.r0.y * vec4f(f.r0.yz, f.r1.yz) + k.r0.z * vec4f(f.r0.zw, f.r1.zw)
        + k.r1.x * vec4f(f.r1.xy, f.r2.xy) + k.r1.y * vec4f(f.r1.yz, f.r2.yz) + k.r1.z * vec4f(f.r1.zw, f.r2.zw)
        + k.r2.x * vec4f(f.r2.xy, f.r3.xy) + k.r2.y * vec4f(f.r2.yz, f.r3.yz) + k.r2.z * vec4f(f.r2.zw, f.r3.zw);
}

fn convolve_pair(sums: Pair, left: Field, right: Field, k: Kernel) -> Pair {
    return Pair(convolve(sums.left, left, k), convolve(sums.right, right, k));
}

// y[n,o,w] = max(0, max_q(bias[o] + sum_{c,i,j} weight[o,c,i,j] * x[n, c, 2 py + q/2 + i, 2 px + q%2 + j]))
// Invocations: strips of two windows of (N, PH, PW). Workgroups along y: tiles of O.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let across = (pooled_width() + WINDOWS - 1u) / WINDOWS;
    if (id.x >= BATCH * pooled_height() * across) {
        return;
    }
    let n = id.x / (pooled_height() * across);
    let py = id.x / across % pooled_height();
    let px = id.x % across * WINDOWS;
    let o = group.y * TILE;
    var s0 = Pair();
    var s1 = Pair();
    var s2 = Pair();
    var s3 = Pair();
    for (var c = 0u; c < CHANNELS; c++) {
        let plane = n * CHANNELS + c;
        let a0 = x_four(plane, 2u * py, 2u * px);
        let a1 = x_four(plane, 2u * py + 1u, 2u * px);
        let a2 = x_four(plane, 2u * py + 2u, 2u * px);
        let a3 = x_four(plane, 2u * py + 3u, 2u * px);
        let b0 = x_two(plane, 2u * py, 2u * px + 4u);
        let b1 = x_two(plane, 2u * py + 1u, 2u * px + 4u);
        let b2 = x_two(plane, 2u * py + 2u, 2u * px + 4u);
        let b3 = x_two(plane, 2u * py + 3u, 2u * px + 4u);
        let left = Field(a0, a1, a2, a3);
        let right = Field(vec4f(a0.zw, b0), vec4f(a1.zw, b1), vec4f(a2.zw, b2), vec4f(a3.zw, b3));
        s0 = convolve_pair(s0, left, right, kernel(o, c));
        s1 = convolve_pair(s1, left, right, kernel(o + 1u, c));
        s2 = convolve_pair(s2, left, right, kernel(o + 2u, c));
        s3 = convolve_pair(s3, left, right, kernel(o + 3u, c));
    }
    let at = py * pooled_width() + px;
    pool(n, o, at, s0.left, s1.left, s2.left, s3.left);
    if (px + 1u < pooled_width()) {
        pool(n, o, at + 1u, s0.right, s1.right, s2.right, s3.right);
    }
}

// By the bits, since WGSL lets a compiler assume that comparisons meet no NaN.
fn is_nan(v: vec4f) -> vec4<bool> { return (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u); }

// Bias, ReLU and maximum of one window in the four channels from `o` on, all four at once.
fn pool(n: u32, o: u32, at: u32, s0: vec4f, s1: vec4f, s2: vec4f, s3: vec4f) {
    let channel = min(vec4u(o, o + 1u, o + 2u, o + 3u), vec4u(OUT_CHANNELS - 1u));
    let b = vec4f(bias[channel.x], bias[channel.y], bias[channel.z], bias[channel.w]);
    let e0 = vec4f(s0.x, s1.x, s2.x, s3.x) + b;
    let e1 = vec4f(s0.y, s1.y, s2.y, s3.y) + b;
    let e2 = vec4f(s0.z, s1.z, s2.z, s3.z) + b;
    let e3 = vec4f(s0.w, s1.w, s2.w, s3.w) + b;
    // `>` keeps the first of equal values, PyTorch's rule for ties.
    let q1 = select(vec4u(0u), vec4u(1u), e1 > e0);
    let m1 = select(e0, e1, e1 > e0);
    let q2 = select(q1, vec4u(2u), e2 > m1);
    let m2 = select(m1, e2, e2 > m1);
    let q3 = select(q2, vec4u(3u), e3 > m2);
    let m3 = select(m2, e3, e3 > m2);
    let dead = m3 <= vec4f();
    let q = select(q3, vec4u(DEAD), dead);
    // A NaN must reach the loss.
    let nan = is_nan(e0) | is_nan(e1) | is_nan(e2) | is_nan(e3);
    let pooled = select(select(m3, vec4f(), dead), e0 + e1 + e2 + e3, nan);
    let i = (n * OUT_CHANNELS + o) * windows() + at;
    y[i] = pooled.x;
    if (o + 1u < OUT_CHANNELS) { y[i + windows()] = pooled.y; }
    if (o + 2u < OUT_CHANNELS) { y[i + 2u * windows()] = pooled.z; }
    if (o + 3u < OUT_CHANNELS) { y[i + 3u * windows()] = pooled.w; }
    winner[(n * words() + o / TILE) * windows() + at] = q.x | (q.y << 8u) | (q.z << 16u) | (q.w << 24u);
}

// The gradient of the convolution's outputs: of a window it is `d` at the winner and 0 at the other three.
fn expand(d: f32, q: u32) -> vec4f { return select(vec4f(), vec4f(d), vec4u(0u, 1u, 2u, 3u) == vec4u(q)); }

// Where window `row`, `column` lies; a window outside stands for its neighbour inside.
fn window_at(row: u32, column: u32) -> u32 {
    return min(row, pooled_height() - 1u) * pooled_width() + min(column, pooled_width() - 1u);
}

// A tile's winners in a window. Outside all are dead.
fn winners_at(n: u32, word: u32, row: u32, column: u32) -> u32 {
    let winners = winner[(n * words() + word) * windows() + window_at(row, column)];
    return select(DEAD * 0x01010101u, winners, row < pooled_height() && column < pooled_width());
}

fn d_y_at(n: u32, o: u32, row: u32, column: u32) -> f32 {
    return d_y[(n * OUT_CHANNELS + o) * windows() + window_at(row, column)];
}

// d_x is the convolution of that gradient, d, with the kernels turned around:
// d_x[n,c,r,k] = sum_{o,i,j} weight[o,c,i,j] * d[n, o, r - i, k - j].
// A 2x2 patch of it meets four windows: its own, those above and to the left, and the one above to the left. An
// invocation computes two neighbouring patches, hence from six windows, of four input channels.
// Invocations: strips of two patches of (N, PH + 1, PW + 1). Workgroups along y: tiles of C.
@compute @workgroup_size(64)
fn backward_input(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let across = (pooled_width() + WINDOWS) / WINDOWS;
    let down = pooled_height() + 1u;
    if (id.x >= BATCH * down * across) {
        return;
    }
    let n = id.x / (down * across);
    let py = id.x / across % down;
    let px = id.x % across * WINDOWS;
    let c = group.y * TILE;
    var s0 = Pair();
    var s1 = Pair();
    var s2 = Pair();
    var s3 = Pair();
    for (var word = 0u; word < words(); word++) {
        let q00 = winners_at(n, word, py - 1u, px - 1u);
        let q01 = winners_at(n, word, py - 1u, px);
        let q02 = winners_at(n, word, py - 1u, px + 1u);
        let q10 = winners_at(n, word, py, px - 1u);
        let q11 = winners_at(n, word, py, px);
        let q12 = winners_at(n, word, py, px + 1u);
        for (var o = word * TILE; o < min(word * TILE + TILE, OUT_CHANNELS); o++) {
            let byte = 8u * (o % TILE);
            let d00 = expand(d_y_at(n, o, py - 1u, px - 1u), (q00 >> byte) & 255u);
            let d01 = expand(d_y_at(n, o, py - 1u, px), (q01 >> byte) & 255u);
            let d02 = expand(d_y_at(n, o, py - 1u, px + 1u), (q02 >> byte) & 255u);
            let d10 = expand(d_y_at(n, o, py, px - 1u), (q10 >> byte) & 255u);
            let d11 = expand(d_y_at(n, o, py, px), (q11 >> byte) & 255u);
            let d12 = expand(d_y_at(n, o, py, px + 1u), (q12 >> byte) & 255u);
            let left = Field(vec4f(d00.xy, d01.xy), vec4f(d00.zw, d01.zw), vec4f(d10.xy, d11.xy), vec4f(d10.zw, d11.zw));
            let right = Field(vec4f(d01.xy, d02.xy), vec4f(d01.zw, d02.zw), vec4f(d11.xy, d12.xy), vec4f(d11.zw, d12.zw));
            s0 = convolve_pair(s0, left, right, turned(kernel(o, c)));
            s1 = convolve_pair(s1, left, right, turned(kernel(o, c + 1u)));
            s2 = convolve_pair(s2, left, right, turned(kernel(o, c + 2u)));
            s3 = convolve_pair(s3, left, right, turned(kernel(o, c + 3u)));
        }
    }
    store_patches(n, c, py, px, s0);
    store_patches(n, c + 1u, py, px, s1);
    store_patches(n, c + 2u, py, px, s2);
    store_patches(n, c + 3u, py, px, s3);
    // At most one row and one column lie behind the last patches. They fill no window, so no gradient reaches them.
    let below = select(0u, 5u, py == pooled_height());
    let beside = select(0u, 2u, px + WINDOWS > pooled_width());
    for (var k = c; k < min(c + TILE, CHANNELS); k++) {
        for (var i = 0u; i < below + beside; i++) {
            let row = select(i - below, 2u, i < below);
            let column = select(4u, i, i < below);
            store(n, k, 2u * py + row, 2u * px + column, 0.0);
        }
    }
}

fn store_patches(n: u32, c: u32, py: u32, px: u32, d: Pair) {
    store_four(n, c, 2u * py, 2u * px, vec4f(d.left.xy, d.right.xy));
    store_four(n, c, 2u * py + 1u, 2u * px, vec4f(d.left.zw, d.right.zw));
}

fn store_four(n: u32, c: u32, row: u32, column: u32, d: vec4f) {
    store(n, c, row, column, d.x);
    store(n, c, row, column + 1u, d.y);
    store(n, c, row, column + 2u, d.z);
    store(n, c, row, column + 3u, d.w);
}

fn store(n: u32, c: u32, row: u32, column: u32, d: f32) {
    let r = row - PADDING;
    let k = column - PADDING;
    if (c < CHANNELS && r < HEIGHT && k < WIDTH) {
        d_x[((n * CHANNELS + c) * HEIGHT + r) * WIDTH + k] = d;
    }
}

// `sum` and what one window adds: `d` times the 3x3 numbers of the field that its winner was computed from.
fn correlate(sum: Kernel, f: Field, d: f32, q: u32) -> Kernel {
    let lower = (q & 2u) != 0u;
    let right = (q & 1u) != 0u;
    let r0 = select(f.r0, f.r1, lower);
    let r1 = select(f.r1, f.r2, lower);
    let r2 = select(f.r2, f.r3, lower);
    return Kernel(sum.r0 + d * select(r0.xyz, r0.yzw, right), sum.r1 + d * select(r1.xyz, r1.yzw, right),
        sum.r2 + d * select(r2.xyz, r2.yzw, right));
}

// d_y of a window, 0 where it is dead. `q` is its winner.
fn living_d_y(n: u32, o: u32, at: u32, q: u32) -> f32 {
    return select(d_y[(n * OUT_CHANNELS + min(o, OUT_CHANNELS - 1u)) * windows() + at], 0.0, q == DEAD);
}

// d_weight[o,c,i,j] = sum_{n,w} d_y[n,o,w] * x[n, c, 2 py + q/2 + i, 2 px + q%2 + j], q the winner,
// d_bias[o] = sum_{n,w} d_y[n,o,w].
// An invocation takes one input channel, four output channels and columns of windows, from top to bottom, so that two
// of a field's four rows are there already. Then the workgroup adds up its slices' sums, in order.
// Workgroups: C_LANES channels of C; tiles of O.
@compute @workgroup_size(GROUP)
fn backward_params(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
    let c = group.x * C_LANES + local % C_LANES;
    let o = group.y * TILE;
    var w0 = Kernel();
    var w1 = Kernel();
    var w2 = Kernel();
    var w3 = Kernel();
    var b = vec4f();
    for (var column = local / C_LANES; column < BATCH * pooled_width(); column += GROUP / C_LANES) {
        let n = column / pooled_width();
        let px = column % pooled_width();
        let plane = n * CHANNELS + min(c, CHANNELS - 1u);
        var below0 = x_four(plane, 0u, 2u * px);
        var below1 = x_four(plane, 1u, 2u * px);
        for (var py = 0u; py < pooled_height(); py++) {
            let r0 = below0;
            let r1 = below1;
            below0 = x_four(plane, 2u * py + 2u, 2u * px);
            below1 = x_four(plane, 2u * py + 3u, 2u * px);
            let field = Field(r0, r1, below0, below1);
            let at = py * pooled_width() + px;
            let q = (vec4u(winner[(n * words() + group.y) * windows() + at]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
            let d = vec4f(living_d_y(n, o, at, q.x), living_d_y(n, o + 1u, at, q.y),
                living_d_y(n, o + 2u, at, q.z), living_d_y(n, o + 3u, at, q.w));
            w0 = correlate(w0, field, d.x, q.x);
            w1 = correlate(w1, field, d.y, q.y);
            w2 = correlate(w2, field, d.z, q.z);
            w3 = correlate(w3, field, d.w, q.w);
            b += d;
        }
    }
    add_slices(o, group.x * C_LANES, local, w0, b.x);
    add_slices(o + 1u, group.x * C_LANES, local, w1, b.y);
    add_slices(o + 2u, group.x * C_LANES, local, w2, b.z);
    add_slices(o + 3u, group.x * C_LANES, local, w3, b.w);
}

// The slices' sums for one output channel: nine taps and the bias. Slices lie side by side, one channel after another.
var<workgroup> parts: array<f32, 10u * GROUP>;

fn add_slices(o: u32, first_c: u32, local: u32, w: Kernel, b: f32) {
    parts[local] = w.r0.x;
    parts[local + GROUP] = w.r0.y;
    parts[local + 2u * GROUP] = w.r0.z;
    parts[local + 3u * GROUP] = w.r1.x;
    parts[local + 4u * GROUP] = w.r1.y;
    parts[local + 5u * GROUP] = w.r1.z;
    parts[local + 6u * GROUP] = w.r2.x;
    parts[local + 7u * GROUP] = w.r2.y;
    parts[local + 8u * GROUP] = w.r2.z;
    parts[local + 9u * GROUP] = b;
    workgroupBarrier();
    if (local < 10u * C_LANES) {
        let tap = local / C_LANES;
        let lane = local % C_LANES;
        var sum = 0.0;
        for (var i = lane; i < GROUP; i += C_LANES) {
            sum += parts[tap * GROUP + i];
        }
        let c = first_c + lane;
        if (tap < 9u && c < CHANNELS && o < OUT_CHANNELS) {
            d_weight[(o * CHANNELS + c) * 9u + tap] = sum;
        }
        if (tap == 9u && c == 0u && o < OUT_CHANNELS) {
            d_bias[o] = sum;
        }
    }
    workgroupBarrier();
}
