// 2-D convolution (cross-correlation), zero padding, any sizes and strides.
//
// Loads cost more than multiply-adds. So an invocation computes a patch, four neighbouring columns of two rows, in four
// channels. Along a row of taps it holds a window for each of its two rows, four neighbouring numbers, which slides:
// each tap brings one number, and is multiplied with all four. With 3x3 taps, 36 numbers of an input channel and 36
// weights make 288 multiply-adds; the workgroup's invocations share the weights, which a GPU then loads once for all.
//
// For 3x3 kernels followed by ReLU and 2x2 pooling see conv2d_relu_maxpool2d.wgsl, which computes less.

override BATCH: u32 = 32u;         // N
override CHANNELS: u32 = 32u;      // C
override HEIGHT: u32 = 13u;        // H
override WIDTH: u32 = 13u;         // W
override OUT_CHANNELS: u32 = 64u;  // O
override KERNEL: u32 = 3u;         // K
override PADDING: u32 = 0u;        // P
override STRIDE: u32 = 1u;         // S
override RELU: bool = false;       // after normalisation

const ROWS: u32 = 2u;    // of a patch, which an invocation of forward and backward_input computes
const COLUMNS: u32 = 4u;
const TILE: u32 = 4u;    // channels of an invocation
const TAPS: u32 = 4u;    // taps of an invocation of backward_params, each in
const OUTPUTS: u32 = 8u; // so many output channels
const GROUP: u32 = 256u; // invocations of a workgroup of backward_params
const PARTS: u32 = 16u;  // in which it adds up their sums

@group(0) @binding(0) var<storage, read> x: array<f32>;              // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<f32>;         // (O, C, K, K)
@group(0) @binding(2) var<storage, read> bias: array<f32>;           // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (N, O, OH, OW)
@group(0) @binding(4) var<storage, read> d_y: array<f32>;            // (N, O, OH, OW)
@group(0) @binding(5) var<storage, read_write> d_x: array<f32>;      // (N, C, H, W)
@group(0) @binding(6) var<storage, read_write> d_weight: array<f32>; // (O, C, K, K)
@group(0) @binding(7) var<storage, read_write> d_bias: array<f32>;   // (O)
@group(0) @binding(8) var<storage, read> channels: array<vec4f>;     // (O), of batchnorm2d.wgsl

fn out_height() -> u32 { return (HEIGHT + 2u * PADDING - KERNEL) / STRIDE + 1u; }
fn out_width() -> u32 { return (WIDTH + 2u * PADDING - KERNEL) / STRIDE + 1u; }

// What lies at `row`, `column` of the padded input. An unsigned row above the image wraps around to a large one, so
// that one comparison finds what is above and below. Without padding only what nobody needs may be outside: it must not
// lie behind the last.
fn x_at(plane: u32, row: u32, column: u32) -> f32 {
    if (PADDING == 0u) {
        return x[min((plane * HEIGHT + row) * WIDTH + column, BATCH * CHANNELS * HEIGHT * WIDTH - 1u)];
    }
    let r = row - PADDING;
    let k = column - PADDING;
    return select(0.0, x[(plane * HEIGHT + min(r, HEIGHT - 1u)) * WIDTH + min(k, WIDTH - 1u)], r < HEIGHT && k < WIDTH);
}

// weight[o, c, i, j]. Channels behind the last stand for it: what they make is not stored.
fn weight_at(o: u32, c: u32, i: u32, j: u32) -> f32 {
    return weight[((min(o, OUT_CHANNELS - 1u) * CHANNELS + min(c, CHANNELS - 1u)) * KERNEL + i) * KERNEL + j];
}

struct Eight { a: vec4f, b: vec4f } // two rows of a patch; in backward_params eight output channels

fn multiply_add(sum: Eight, factor: f32, x: Eight) -> Eight { return Eight(sum.a + factor * x.a, sum.b + factor * x.b); }

// The first three numbers of a row's windows.
fn x_three(plane: u32, row: u32, column: u32) -> vec4f {
    return vec4f(0.0, x_at(plane, row, column), x_at(plane, row, column + 1u), x_at(plane, row, column + 2u));
}

// The window that follows `before`: what the tap over `column` meets at four neighbouring outputs.
fn x_window(before: vec4f, plane: u32, row: u32, column: u32) -> vec4f {
    if (STRIDE == 1u) {
        return vec4f(before.yzw, x_at(plane, row, column + 3u));
    }
    return vec4f(x_at(plane, row, column), x_at(plane, row, column + STRIDE), x_at(plane, row, column + 2u * STRIDE),
        x_at(plane, row, column + 3u * STRIDE));
}

// A patch, from row `r` and column `k` on, in the four channels from `first` on.
struct Place { n: u32, r: u32, k: u32, first: u32 }

struct Sums { s0: Eight, s1: Eight, s2: Eight, s3: Eight } // a patch of each channel of a tile

// Of the patches of (N, height, width). What is behind the last has no sample.
fn place(index: u32, tile: u32, height: u32, width: u32) -> Place {
    let down = (height + ROWS - 1u) / ROWS;
    let across = (width + COLUMNS - 1u) / COLUMNS;
    return Place(index / (down * across), index / across % down * ROWS, index % across * COLUMNS, tile * TILE);
}

// sum_{c,i,j} weight[o,c,i,j] * x[n, c, S*r+i-P, S*k+j-P]
fn convolve(at: Place) -> Sums {
    var s0 = Eight();
    var s1 = Eight();
    var s2 = Eight();
    var s3 = Eight();
    for (var c = 0u; c < CHANNELS; c++) {
        let plane = at.n * CHANNELS + c;
        for (var i = 0u; i < KERNEL; i++) {
            let row = at.r * STRIDE + i;
            let column = at.k * STRIDE;
            var x = Eight(x_three(plane, row, column), x_three(plane, row + STRIDE, column));
            for (var j = 0u; j < KERNEL; j++) {
                x = Eight(x_window(x.a, plane, row, column + j), x_window(x.b, plane, row + STRIDE, column + j));
                s0 = multiply_add(s0, weight_at(at.first, c, i, j), x);
                s1 = multiply_add(s1, weight_at(at.first + 1u, c, i, j), x);
                s2 = multiply_add(s2, weight_at(at.first + 2u, c, i, j), x);
                s3 = multiply_add(s3, weight_at(at.first + 3u, c, i, j), x);
            }
        }
    }
    return Sums(s0, s1, s2, s3);
}

// y[n,o,r,k] = bias[o] + sum_{c,i,j} weight[o,c,i,j] * x[n, c, S*r+i-P, S*k+j-P]
// Invocations: patches of (N, OH, OW). Workgroups along y: tiles of O.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let at = place(id.x, group.y, out_height(), out_width());
    if (at.n >= BATCH) {
        return;
    }
    let sums = convolve(at);
    store_y(at, at.first, plus_bias(at.first, sums.s0));
    store_y(at, at.first + 1u, plus_bias(at.first + 1u, sums.s1));
    store_y(at, at.first + 2u, plus_bias(at.first + 2u, sums.s2));
    store_y(at, at.first + 3u, plus_bias(at.first + 3u, sums.s3));
}

// The same, and then normalised, as batchnorm2d.wgsl does it in an evaluation.
@compute @workgroup_size(64)
fn forward_normalised(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let at = place(id.x, group.y, out_height(), out_width());
    if (at.n >= BATCH) {
        return;
    }
    let sums = convolve(at);
    store_y(at, at.first, normalised(at.first, plus_bias(at.first, sums.s0)));
    store_y(at, at.first + 1u, normalised(at.first + 1u, plus_bias(at.first + 1u, sums.s1)));
    store_y(at, at.first + 2u, normalised(at.first + 2u, plus_bias(at.first + 2u, sums.s2)));
    store_y(at, at.first + 3u, normalised(at.first + 3u, plus_bias(at.first + 3u, sums.s3)));
}

fn plus_bias(o: u32, sum: Eight) -> Eight {
    let b = bias[min(o, OUT_CHANNELS - 1u)];
    return Eight(sum.a + b, sum.b + b);
}

fn normalised(o: u32, value: Eight) -> Eight {
    let channel = channels[min(o, OUT_CHANNELS - 1u)];
    return Eight(normalised_row(value.a, channel), normalised_row(value.b, channel));
}

// (x - mean) / sqrt(var + EPSILON) * weight + bias, and cut to 0 below it where RELU is set.
fn normalised_row(x: vec4f, channel: vec4f) -> vec4f {
    let value = (x - channel.x) * (channel.y * channel.z) + channel.w;
    return select(value, vec4f(), vec4<bool>(RELU) & (value <= vec4f()) & !is_nan(value));
}

// By the bits, since WGSL lets a compiler assume that comparisons meet no NaN.
fn is_nan(v: vec4f) -> vec4<bool> { return (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u); }

// What of a patch is inside.
fn store_y(at: Place, o: u32, value: Eight) {
    if (o < OUT_CHANNELS) {
        store_y_row(at.n, o, at.r, at.k, value.a);
        store_y_row(at.n, o, at.r + 1u, at.k, value.b);
    }
}

fn store_y_row(n: u32, o: u32, r: u32, k: u32, value: vec4f) {
    if (r >= out_height()) {
        return;
    }
    let at = ((n * OUT_CHANNELS + o) * out_height() + r) * out_width() + k;
    y[at] = value.x;
    if (k + 1u < out_width()) { y[at + 1u] = value.y; }
    if (k + 2u < out_width()) { y[at + 2u] = value.z; }
    if (k + 3u < out_width()) { y[at + 3u] = value.w; }
}

// The output at a place of the input, along one axis; one outside where none stands.
fn output_at(place: u32) -> u32 {
    if (STRIDE == 1u) {
        return place;
    }
    return select(0xffffffffu, place / STRIDE, place % STRIDE == 0u);
}

// The gradient of the outputs, as far apart as the inputs that they were computed from: between them lie zeros, as
// around them. What is above or left of all wraps around, as in x_at.
fn d_y_at(plane: u32, row: u32, column: u32) -> f32 {
    let r = output_at(row);
    let k = output_at(column);
    let at = (plane * out_height() + min(r, out_height() - 1u)) * out_width() + min(k, out_width() - 1u);
    return select(0.0, d_y[at], r < out_height() && k < out_width());
}

fn d_y_three(plane: u32, row: u32, column: u32) -> vec4f {
    return vec4f(0.0, d_y_at(plane, row, column), d_y_at(plane, row, column + 1u), d_y_at(plane, row, column + 2u));
}

fn d_y_window(before: vec4f, plane: u32, row: u32, column: u32) -> vec4f {
    return vec4f(before.yzw, d_y_at(plane, row, column + 3u));
}

// d_x[n,c,r,k] = sum_{o,i,j} weight[o,c,i,j] * d_y[n, o, (r-i+P)/S, (k-j+P)/S], of which only whole places count. A
// row's taps are taken from the last to the first, so that the windows slide to the right.
// Invocations: patches of (N, H, W). Workgroups along y: tiles of C.
@compute @workgroup_size(64)
fn backward_input(@builtin(global_invocation_id) id: vec3u, @builtin(workgroup_id) group: vec3u) {
    let at = place(id.x, group.y, HEIGHT, WIDTH);
    if (at.n >= BATCH) {
        return;
    }
    let c = at.first;
    var s0 = Eight();
    var s1 = Eight();
    var s2 = Eight();
    var s3 = Eight();
    for (var o = 0u; o < OUT_CHANNELS; o++) {
        let plane = at.n * OUT_CHANNELS + o;
        for (var i = 0u; i < KERNEL; i++) {
            let row = at.r + PADDING - i;
            let column = at.k + PADDING - (KERNEL - 1u);
            var d = Eight(d_y_three(plane, row, column), d_y_three(plane, row + 1u, column));
            for (var t = 0u; t < KERNEL; t++) {
                let j = KERNEL - 1u - t;
                d = Eight(d_y_window(d.a, plane, row, column + t), d_y_window(d.b, plane, row + 1u, column + t));
                s0 = multiply_add(s0, weight_at(o, c, i, j), d);
                s1 = multiply_add(s1, weight_at(o, c + 1u, i, j), d);
                s2 = multiply_add(s2, weight_at(o, c + 2u, i, j), d);
                s3 = multiply_add(s3, weight_at(o, c + 3u, i, j), d);
            }
        }
    }
    store_d_x(at, c, s0);
    store_d_x(at, c + 1u, s1);
    store_d_x(at, c + 2u, s2);
    store_d_x(at, c + 3u, s3);
}

fn store_d_x(at: Place, c: u32, value: Eight) {
    if (c < CHANNELS) {
        store_d_x_row(at.n, c, at.r, at.k, value.a);
        store_d_x_row(at.n, c, at.r + 1u, at.k, value.b);
    }
}

fn store_d_x_row(n: u32, c: u32, r: u32, k: u32, value: vec4f) {
    if (r >= HEIGHT) {
        return;
    }
    let at = ((n * CHANNELS + c) * HEIGHT + r) * WIDTH + k;
    d_x[at] = value.x;
    if (k + 1u < WIDTH) { d_x[at + 1u] = value.y; }
    if (k + 2u < WIDTH) { d_x[at + 2u] = value.z; }
    if (k + 3u < WIDTH) { d_x[at + 3u] = value.w; }
}

// Of a kernel's taps in all channels, C * K * K. Behind the last comes one that stands for the bias.
fn taps() -> u32 { return CHANNELS * KERNEL * KERNEL; }

// What tap `t` meets at output `r`, `k`; the bias meets 1.
fn x_of_tap(n: u32, t: u32, r: u32, k: u32) -> f32 {
    let tap = min(t, taps() - 1u);
    let c = tap / (KERNEL * KERNEL);
    let i = tap / KERNEL % KERNEL;
    let j = tap % KERNEL;
    return select(x_at(n * CHANNELS + c, r * STRIDE + i, k * STRIDE + j), 1.0, t == taps());
}

// d_y of the four channels from `o` on.
fn d_y_four(n: u32, o: u32, position: u32) -> vec4f {
    let channel = min(vec4u(o, o + 1u, o + 2u, o + 3u), vec4u(OUT_CHANNELS - 1u));
    let at = (n * OUT_CHANNELS + channel) * out_height() * out_width() + position;
    return vec4f(d_y[at.x], d_y[at.y], d_y[at.z], d_y[at.w]);
}

// d_weight[o,c,i,j] = sum_{n,r,k} d_y[n,o,r,k] * x[n, c, S*r+i-P, S*k+j-P], d_bias[o] = sum_{n,r,k} d_y[n,o,r,k]. The
// workgroup's invocations take positions in turn, four taps in eight channels of each; then it adds up their sums.
// Workgroups: four of the taps; eight of O.
@compute @workgroup_size(GROUP)
fn backward_params(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let t = group.x * TAPS;
    let o = group.y * OUTPUTS;
    let positions = out_height() * out_width();
    var s0 = Eight();
    var s1 = Eight();
    var s2 = Eight();
    var s3 = Eight();
    for (var e = lane; e < BATCH * positions; e += GROUP) {
        let n = e / positions;
        let position = e % positions;
        let r = position / out_width();
        let k = position % out_width();
        let d = Eight(d_y_four(n, o, position), d_y_four(n, o + 4u, position));
        s0 = multiply_add(s0, x_of_tap(n, t, r, k), d);
        s1 = multiply_add(s1, x_of_tap(n, t + 1u, r, k), d);
        s2 = multiply_add(s2, x_of_tap(n, t + 2u, r, k), d);
        s3 = multiply_add(s3, x_of_tap(n, t + 3u, r, k), d);
    }
    add_up(t, o, lane, s0);
    add_up(t + 1u, o, lane, s1);
    add_up(t + 2u, o, lane, s2);
    add_up(t + 3u, o, lane, s3);
}

var<workgroup> sums: array<Eight, GROUP>;
var<workgroup> parts: array<Eight, PARTS>;

fn plus(x: Eight, y: Eight) -> Eight { return Eight(x.a + y.a, x.b + y.b); }

// Adds up what the invocations have for a tap: first in parts, then those, so that the order never changes.
fn add_up(t: u32, o: u32, lane: u32, own: Eight) {
    sums[lane] = own;
    workgroupBarrier();
    if (lane < PARTS) {
        var part = sums[lane];
        for (var i = lane + PARTS; i < GROUP; i += PARTS) {
            part = plus(part, sums[i]);
        }
        parts[lane] = part;
    }
    workgroupBarrier();
    if (lane == 0u) {
        var sum = parts[0];
        for (var i = 1u; i < PARTS; i++) {
            sum = plus(sum, parts[i]);
        }
        store_d_params(t, o, sum.a.x);
        store_d_params(t, o + 1u, sum.a.y);
        store_d_params(t, o + 2u, sum.a.z);
        store_d_params(t, o + 3u, sum.a.w);
        store_d_params(t, o + 4u, sum.b.x);
        store_d_params(t, o + 5u, sum.b.y);
        store_d_params(t, o + 6u, sum.b.z);
        store_d_params(t, o + 7u, sum.b.w);
    }
}

fn store_d_params(t: u32, o: u32, sum: f32) {
    if (o < OUT_CHANNELS && t < taps()) {
        d_weight[o * taps() + t] = sum;
    } else if (o < OUT_CHANNELS && t == taps()) {
        d_bias[o] = sum;
    }
}
