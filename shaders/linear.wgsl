// Fully connected layer: y = x W^T + b, with W (O, K) as PyTorch stores it.
//
// Each kernel computes a small block of results per invocation, so that each value loaded is used several times, and gives
// neighbouring invocations neighbouring k, along which x and W lie in memory.

override BATCH: u32 = 32u;   // N
override INPUTS: u32 = 1600u;   // K
override OUTPUTS: u32 = 128u;   // O

const LANES: u32 = 64u;        // invocations of a workgroup
const SAMPLES: u32 = 4u;       // block of forward: samples
const OUTS: u32 = 8u;          // block of forward and backward_params: outputs
const BACK_SAMPLES: u32 = 8u;  // block of backward_input: samples
const COLUMNS: u32 = 4u;       // block of the backward kernels: values of k, LANES apart

@group(0) @binding(0) var<storage, read> x: array<f32>;              // (N, K)
@group(0) @binding(1) var<storage, read> weight: array<f32>;         // (O, K)
@group(0) @binding(2) var<storage, read> bias: array<f32>;           // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (N, O)
@group(0) @binding(4) var<storage, read> d_y: array<f32>;            // (N, O)
@group(0) @binding(5) var<storage, read_write> d_x: array<f32>;      // (N, K)
@group(0) @binding(6) var<storage, read_write> d_weight: array<f32>; // (O, K)
@group(0) @binding(7) var<storage, read_write> d_bias: array<f32>;   // (O)

// One row per invocation; the odd row length keeps both directions of access free of bank conflicts.
const PARTS: u32 = SAMPLES * OUTS + 1u;
var<workgroup> parts: array<f32, LANES * PARTS>;

// y[n,o] = bias[o] + sum_k x[n,k] * weight[o,k]. The workgroup shares one block of SAMPLES x OUTS results: invocation l sums
// k = l, l + LANES, ..., then the invocations' sums are added in order.
@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let o0 = group.x * OUTS;
    let n0 = group.y * SAMPLES;
    var sums: array<array<f32, OUTS>, SAMPLES>;
    for (var k = lane; k < INPUTS; k += LANES) {
        var w: array<f32, OUTS>;
        for (var o = 0u; o < OUTS; o++) {
            w[o] = weight[min(o0 + o, OUTPUTS - 1u) * INPUTS + k];
        }
        for (var n = 0u; n < SAMPLES; n++) {
            let value = x[min(n0 + n, BATCH - 1u) * INPUTS + k];
            for (var o = 0u; o < OUTS; o++) {
                sums[n][o] += value * w[o];
            }
        }
    }
    for (var n = 0u; n < SAMPLES; n++) {
        for (var o = 0u; o < OUTS; o++) {
            parts[lane * PARTS + n * OUTS + o] = sums[n][o];
        }
    }
    workgroupBarrier();
    let n = n0 + lane / OUTS;
    let o = o0 + lane % OUTS;
    if (lane < SAMPLES * OUTS && n < BATCH && o < OUTPUTS) {
        var sum = bias[o];
        for (var l = 0u; l < LANES; l++) {
            sum += parts[l * PARTS + lane];
        }
        y[n * OUTPUTS + o] = sum;
    }
}

// d_x[n,k] = sum_o d_y[n,o] * weight[o,k]
@compute @workgroup_size(LANES)
fn backward_input(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let k0 = group.x * LANES * COLUMNS + lane;
    let n0 = group.y * BACK_SAMPLES;
    var sums: array<array<f32, COLUMNS>, BACK_SAMPLES>;
    for (var o = 0u; o < OUTPUTS; o++) {
        var w: array<f32, COLUMNS>;
        for (var c = 0u; c < COLUMNS; c++) {
            w[c] = weight[o * INPUTS + min(k0 + c * LANES, INPUTS - 1u)];
        }
        for (var n = 0u; n < BACK_SAMPLES; n++) {
            let d = d_y[min(n0 + n, BATCH - 1u) * OUTPUTS + o];
            for (var c = 0u; c < COLUMNS; c++) {
                sums[n][c] += d * w[c];
            }
        }
    }
    for (var n = 0u; n < BACK_SAMPLES; n++) {
        for (var c = 0u; c < COLUMNS; c++) {
            let k = k0 + c * LANES;
            if (n0 + n < BATCH && k < INPUTS) {
                d_x[(n0 + n) * INPUTS + k] = sums[n][c];
            }
        }
    }
}

// d_weight[o,k] = sum_n d_y[n,o] * x[n,k]; d_bias[o] = sum_n d_y[n,o], written by the invocation that has k = 0
@compute @workgroup_size(LANES)
fn backward_params(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let k0 = group.x * LANES * COLUMNS + lane;
    let o0 = group.y * OUTS;
    var sums: array<array<f32, COLUMNS>, OUTS>;
    var bias_sums: array<f32, OUTS>;
    for (var n = 0u; n < BATCH; n++) {
        var values: array<f32, COLUMNS>;
        for (var c = 0u; c < COLUMNS; c++) {
            values[c] = x[n * INPUTS + min(k0 + c * LANES, INPUTS - 1u)];
        }
        for (var o = 0u; o < OUTS; o++) {
            let d = d_y[n * OUTPUTS + min(o0 + o, OUTPUTS - 1u)];
            bias_sums[o] += d;
            for (var c = 0u; c < COLUMNS; c++) {
                sums[o][c] += d * values[c];
            }
        }
    }
    for (var o = 0u; o < OUTS; o++) {
        for (var c = 0u; c < COLUMNS; c++) {
            let k = k0 + c * LANES;
            if (o0 + o < OUTPUTS && k < INPUTS) {
                d_weight[(o0 + o) * INPUTS + k] = sums[o][c];
            }
        }
        if (k0 == 0u && o0 + o < OUTPUTS) {
            d_bias[o0 + o] = bias_sums[o];
        }
    }
}
