// 2-D convolution (cross-correlation), zero padding, any sizes and strides: the plain form.
//
// One invocation computes one result: it walks over the terms of its sum and loads what it needs from memory, each time
// anew. Neighbouring invocations take neighbouring places of an image, so that they load neighbouring numbers. The
// other two dimensions of a dispatch are channels and samples. Nothing is shared, so every size works, and the code is
// the formula. For 3x3 kernels followed by ReLU and 2x2 pooling see conv2d_relu_maxpool2d.wgsl, which is made to be
// fast.

override BATCH: u32 = 32u;         // N
override CHANNELS: u32 = 32u;      // C
override HEIGHT: u32 = 13u;        // H
override WIDTH: u32 = 13u;         // W
override OUT_CHANNELS: u32 = 64u;  // O
override KERNEL: u32 = 3u;         // K
override PADDING: u32 = 0u;        // P
override STRIDE: u32 = 1u;         // S

@group(0) @binding(0) var<storage, read> x: array<f32>;              // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<f32>;         // (O, C, K, K)
@group(0) @binding(2) var<storage, read> bias: array<f32>;           // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (N, O, OH, OW)
@group(0) @binding(4) var<storage, read> d_y: array<f32>;            // (N, O, OH, OW)
@group(0) @binding(5) var<storage, read_write> d_x: array<f32>;      // (N, C, H, W)
@group(0) @binding(6) var<storage, read_write> d_weight: array<f32>; // (O, C, K, K)
@group(0) @binding(7) var<storage, read_write> d_bias: array<f32>;   // (O)

fn out_height() -> u32 { return (HEIGHT + 2u * PADDING - KERNEL) / STRIDE + 1u; }
fn out_width() -> u32 { return (WIDTH + 2u * PADDING - KERNEL) / STRIDE + 1u; }

// x[n, c, row - P, column - P], 0 in the padding. An unsigned row above the image wraps to a large one, so one
// comparison catches both edges.
fn padded_x(n: u32, c: u32, row: u32, column: u32) -> f32 {
    let r = row - PADDING;
    let k = column - PADDING;
    if (r < HEIGHT && k < WIDTH) {
        return x[((n * CHANNELS + c) * HEIGHT + r) * WIDTH + k];
    }
    return 0.0;
}

// y[n,o,r,k] = bias[o] + sum_{c,i,j} weight[o,c,i,j] * x[n, c, S*r+i-P, S*k+j-P]
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    let position = id.x;
    let o = id.y;
    let n = id.z;
    if (position >= out_height() * out_width() || o >= OUT_CHANNELS || n >= BATCH) {
        return;
    }
    let row = position / out_width() * STRIDE;
    let column = position % out_width() * STRIDE;
    var sum = bias[o];
    for (var c = 0u; c < CHANNELS; c++) {
        for (var i = 0u; i < KERNEL; i++) {
            for (var j = 0u; j < KERNEL; j++) {
                sum += weight[((o * CHANNELS + c) * KERNEL + i) * KERNEL + j] * padded_x(n, c, row + i, column + j);
            }
        }
    }
    y[(n * OUT_CHANNELS + o) * out_height() * out_width() + position] = sum;
}

// d_x[n,c,r,k] = sum_{o,i,j} weight[o,c,i,j] * d_y[n, o, (r-i+P)/S, (k-j+P)/S], of which only whole places count
@compute @workgroup_size(64)
fn backward_input(@builtin(global_invocation_id) id: vec3u) {
    let c = id.y;
    let n = id.z;
    if (id.x >= HEIGHT * WIDTH || c >= CHANNELS || n >= BATCH) {
        return;
    }
    let row = id.x / WIDTH + PADDING;
    let column = id.x % WIDTH + PADDING;
    var sum = 0.0;
    for (var o = 0u; o < OUT_CHANNELS; o++) {
        for (var i = 0u; i < KERNEL; i++) {
            for (var j = 0u; j < KERNEL; j++) {
                let r = row - i; // wraps above the image, as in padded_x
                let k = column - j;
                let whole = r % STRIDE == 0u && k % STRIDE == 0u;
                if (whole && r / STRIDE < out_height() && k / STRIDE < out_width()) {
                    sum += weight[((o * CHANNELS + c) * KERNEL + i) * KERNEL + j]
                        * d_y[((n * OUT_CHANNELS + o) * out_height() + r / STRIDE) * out_width() + k / STRIDE];
                }
            }
        }
    }
    d_x[(n * CHANNELS + c) * HEIGHT * WIDTH + id.x] = sum;
}

// d_weight[o,c,i,j] = sum_{n,r,k} d_y[n,o,r,k] * x[n, c, S*r+i-P, S*k+j-P], and one more invocation per o for
// d_bias[o] = sum_{n,r,k} d_y[n,o,r,k]
@compute @workgroup_size(64)
fn backward_params(@builtin(global_invocation_id) id: vec3u) {
    let taps = CHANNELS * KERNEL * KERNEL;
    let o = id.y;
    if (id.x > taps || o >= OUT_CHANNELS) {
        return;
    }
    let c = id.x / (KERNEL * KERNEL);
    let i = id.x / KERNEL % KERNEL;
    let j = id.x % KERNEL;
    var sum = 0.0;
    for (var n = 0u; n < BATCH; n++) {
        for (var r = 0u; r < out_height(); r++) {
            for (var k = 0u; k < out_width(); k++) {
                let d = d_y[((n * OUT_CHANNELS + o) * out_height() + r) * out_width() + k];
                if (id.x < taps) {
                    sum += d * padded_x(n, c, r * STRIDE + i, k * STRIDE + j);
                } else {
                    sum += d;
                }
            }
        }
    }
    if (id.x < taps) {
        d_weight[o * taps + id.x] = sum;
    } else {
        d_bias[o] = sum;
    }
}
