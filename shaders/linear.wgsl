// Fully connected layer: y = x W^T + b, with W (O, K) as PyTorch stores it.
//
// Each invocation computes a block of results, so that each value loaded is used several times, and neighbouring invocations
// take neighbouring k, along which x and W lie in memory.
//
// What is stored passes through the first place of an array, in a loop that moves the others up: code for each of the results
// would be most of what there is to compile. The loops that take the time ask at their end: see conv2d_relu_maxpool2d.wgsl.

override BATCH: u32 = 32u;    // N
override INPUTS: u32 = 1600u; // K
override OUTPUTS: u32 = 128u; // O

const GROUP: u32 = 64u;   // invocations of a workgroup
const SAMPLES: u32 = 4u;  // block of forward: samples
const OUTS: u32 = 4u;     // block of forward: outputs
const ROWS: u32 = 8u;     // block of backward: outputs or samples
const COLUMNS: u32 = 4u;  // block of backward: elements along k, GROUP apart

@group(0) @binding(0) var<storage, read> x: array<f32>;               // (N, K)
@group(0) @binding(1) var<storage, read> weight: array<f32>;          // (O, K)
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;         // (N, O)
@group(0) @binding(4) var<storage, read> d_y: array<f32>;             // (N, O)
@group(0) @binding(5) var<storage, read_write> d_x: array<f32>;       // (N, K)
@group(0) @binding(6) var<storage, read_write> d_weight: array<f32>;  // (O, K)
@group(0) @binding(7) var<storage, read_write> d_bias: array<f32>;    // (O)

// One row per invocation; the odd row length keeps both directions of access free of bank conflicts.
const PARTS: u32 = SAMPLES * OUTS + 1u;
var<workgroup> parts: array<f32, GROUP * PARTS>;

// y[n,o] = bias[o] + sum_k x[n,k] * weight[o,k]
// The workgroup shares one block of SAMPLES x OUTS results: invocation l sums k = l, l + GROUP, ..., then the invocations' sums
// are added in order.
@compute @workgroup_size(GROUP)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
    let o0 = group.x * OUTS;
    let n0 = group.y * SAMPLES;
    var sums: array<array<f32, OUTS>, SAMPLES>;
    for (var k = local; k < INPUTS; k += GROUP) {
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
            parts[local * PARTS + n * OUTS + o] = sums[n][o];
        }
    }
    workgroupBarrier();
    for (var r = local; r < SAMPLES * OUTS; r += GROUP) {
        let n = n0 + r / OUTS;
        let o = o0 + r % OUTS;
        if (n < BATCH && o < OUTPUTS) {
            var sum = bias[o];
            for (var l = 0u; l < GROUP; l++) {
                sum += parts[l * PARTS + r];
            }
            y[n * OUTPUTS + o] = sum;
        }
    }
}

// d_weight[o,k] = sum_n d_y[n,o] * x[n,k]; d_bias[o] = sum_n d_y[n,o], written by the invocation that has k = 0
fn params(k0: u32, o0: u32) {
    var sums: array<array<f32, COLUMNS>, ROWS>;
    var bias_sums: array<f32, ROWS>;
    var n = 0u;
    loop {
        var values: array<f32, COLUMNS>;
        for (var c = 0u; c < COLUMNS; c++) {
            values[c] = x[n * INPUTS + min(k0 + c * GROUP, INPUTS - 1u)];
        }
        for (var r = 0u; r < ROWS; r++) {
            let d = d_y[n * OUTPUTS + min(o0 + r, OUTPUTS - 1u)];
            bias_sums[r] += d;
            for (var c = 0u; c < COLUMNS; c++) {
                sums[r][c] += d * values[c];
            }
        }
        n++;
        if (n == BATCH) { break; }
    }
    for (var r = 0u; r < ROWS; r++) {
        if (o0 + r < OUTPUTS && k0 == 0u) {
            d_bias[o0 + r] = bias_sums[0];
        }
        for (var c = 0u; c < COLUMNS; c++) {
            let k = k0 + c * GROUP;
            if (o0 + r < OUTPUTS && k < INPUTS) {
                d_weight[(o0 + r) * INPUTS + k] = sums[0][c];
            }
        }
        for (var next = 1u; next < ROWS; next++) {
            sums[next - 1u] = sums[next];
            bias_sums[next - 1u] = bias_sums[next];
        }
    }
}

// d_x[n,k] = sum_o d_y[n,o] * weight[o,k]
fn input(k0: u32, n0: u32) {
    var sums: array<array<f32, COLUMNS>, ROWS>;
    var o = 0u;
    loop {
        var w: array<f32, COLUMNS>;
        for (var c = 0u; c < COLUMNS; c++) {
            w[c] = weight[o * INPUTS + min(k0 + c * GROUP, INPUTS - 1u)];
        }
        for (var r = 0u; r < ROWS; r++) {
            let d = d_y[min(n0 + r, BATCH - 1u) * OUTPUTS + o];
            for (var c = 0u; c < COLUMNS; c++) {
                sums[r][c] += d * w[c];
            }
        }
        o++;
        if (o == OUTPUTS) { break; }
    }
    for (var r = 0u; r < ROWS; r++) {
        for (var c = 0u; c < COLUMNS; c++) {
            let k = k0 + c * GROUP;
            if (n0 + r < BATCH && k < INPUTS) {
                d_x[(n0 + r) * INPUTS + k] = sums[0][c];
            }
        }
        for (var next = 1u; next < ROWS; next++) {
            sums[next - 1u] = sums[next];
        }
    }
}

// Workgroups: blocks of K; blocks of O.
@compute @workgroup_size(GROUP)
fn backward_params(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
    params(group.x * GROUP * COLUMNS + local, group.y * ROWS);
}

// Both gradients at once, so that the one fills the device where the other does not.
// Workgroups: blocks of K; blocks of O for the parameters, then blocks of N for the input.
@compute @workgroup_size(GROUP)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
    let k0 = group.x * GROUP * COLUMNS + local;
    let blocks = (OUTPUTS + ROWS - 1u) / ROWS;
    if (group.y < blocks) {
        params(k0, group.y * ROWS);
    } else {
        input(k0, (group.y - blocks) * ROWS);
    }
}
