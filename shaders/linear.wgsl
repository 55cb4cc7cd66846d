// Fully connected layer: y = x W^T + b, with W (O, K) as PyTorch stores it.
//
// Each invocation computes a block of results, so that each value loaded is used several times, and neighbouring invocations
// take neighbouring k, along which x and W lie in memory.
//
// What is stored passes through the first place of an array, in a loop that moves the others up: code for each of the results
// would be most of what there is to compile. The loops that take the time ask at their end: see conv2d_relu_maxpool2d.wgsl.

override BATCH: u32 = 32u;    // N
override INPUTS: u32 = 1600u; // K, in Values
override OUTPUTS: u32 = 128u; // O

const GROUP: u32 = 64u;   // invocations of a workgroup
const SAMPLES: u32 = 4u;  // block of forward: samples
const OUTS: u32 = 4u;     // block of forward: outputs
const ROWS: u32 = 8u;     // block of backward: outputs or samples
const COLUMNS: u32 = 4u;  // block of backward: Values along k, GROUP apart
const VECTOR: u32 = 1u;   // elements of a Value; the host sets 4 where that suits the device and K is a multiple of it
const TURN: u32 = 1u;     // products that backward adds to each sum in a turn of its loops
const TEXELS: u32 = 0u;   // texels in a row of the textures through which x, weight and d_y are read; 0: they are read themselves
const LANES: u32 = 1u;    // invocations that share what they load; divides ROWS, equals GROUP if more than 1

// What one load or store moves: the host makes it a vec4f where VECTOR is 4.
alias Value = f32;
fn product(a: Value, b: Value) -> f32 { return a * b; }

@group(0) @binding(0) var<storage, read> x: array<Value>;              // (N, K)
@group(0) @binding(1) var<storage, read> weight: array<Value>;         // (O, K)
@group(0) @binding(2) var<storage, read> bias: array<f32>;             // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;          // (N, O)
@group(0) @binding(4) var<storage, read> d_y: array<f32>;              // (N, O)
@group(0) @binding(5) var<storage, read_write> d_x: array<Value>;      // (N, K)
@group(0) @binding(6) var<storage, read_write> d_weight: array<Value>; // (O, K)
@group(0) @binding(7) var<storage, read_write> d_bias: array<f32>;     // (O)

// `value` as invocation `lane` has it, of `among` in a subgroup. The host puts a subgroup shuffle here where LANES is more than 1.
fn share(value: f32, lane: u32, among: u32) -> f32 { return value; }
fn share_value(value: Value, lane: u32, among: u32) -> Value { return value; }

// What is read of the buffers. Where TEXELS is more than 0 the host puts loads of texels here.
fn x_at(i: u32) -> Value { return x[i]; }
fn weight_at(i: u32) -> Value { return weight[i]; }
fn bias_at(i: u32) -> f32 { return bias[i]; }
fn d_y_at(i: u32) -> f32 { return d_y[i]; }
fn d_y_four(i: u32) -> vec4f { return vec4f(d_y[4u * i], d_y[4u * i + 1u], d_y[4u * i + 2u], d_y[4u * i + 3u]); }

// One row per invocation; the odd row length keeps both directions of access free of bank conflicts.
const PARTS: u32 = SAMPLES * OUTS + 1u;
var<workgroup> parts: array<f32, GROUP * PARTS>;

// y[n,o] = bias[o] + sum_k x[n,k] * weight[o,k]
@compute @workgroup_size(GROUP)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
    if (LANES == 1u) {
        forward_alone(group.x * OUTS, group.y * SAMPLES, local);
    } else {
        forward_shared(group.x * OUTS * LANES + local, group.y * SAMPLES, local);
    }
}

// The workgroup shares one block of SAMPLES x OUTS results: invocation l sums k = l, l + GROUP, ..., then the invocations' sums
// are added in order.
fn forward_alone(o0: u32, n0: u32, local: u32) {
    var sums: array<array<f32, OUTS>, SAMPLES>;
    for (var k = local; k < INPUTS; k += GROUP) {
        var w: array<Value, OUTS>;
        for (var o = 0u; o < OUTS; o++) {
            w[o] = weight_at(min(o0 + o, OUTPUTS - 1u) * INPUTS + k);
        }
        for (var n = 0u; n < SAMPLES; n++) {
            let value = x_at(min(n0 + n, BATCH - 1u) * INPUTS + k);
            for (var o = 0u; o < OUTS; o++) {
                sums[n][o] += product(value, w[o]);
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
            var sum = bias_at(o);
            for (var l = 0u; l < GROUP; l++) {
                sum += parts[l * PARTS + r];
            }
            y[n * OUTPUTS + o] = sum;
        }
    }
}

// Each invocation has its own outputs, LANES apart, and all of k; the subgroup shares what it loads of the samples.
fn forward_shared(o0: u32, n0: u32, local: u32) {
    var sums: array<array<f32, OUTS>, SAMPLES>;
    var k = 0u;
    loop {
        var w: array<Value, OUTS>;
        for (var o = 0u; o < OUTS; o++) {
            w[o] = weight_at(min(o0 + o * LANES, OUTPUTS - 1u) * INPUTS + k);
        }
        var loaded: array<Value, (SAMPLES + LANES - 1u) / LANES>;
        for (var h = 0u; h < (SAMPLES + LANES - 1u) / LANES; h++) {
            loaded[h] = x_at(min(n0 + h * LANES + local, BATCH - 1u) * INPUTS + k);
        }
        for (var n = 0u; n < SAMPLES; n++) {
            let value = share_value(loaded[n / LANES], n % LANES, LANES);
            for (var o = 0u; o < OUTS; o++) {
                sums[n][o] += product(value, w[o]);
            }
        }
        k++;
        if (k == INPUTS) { break; }
    }
    for (var n = 0u; n < SAMPLES; n++) {
        for (var o = 0u; o < OUTS; o++) {
            if (n0 + n < BATCH && o0 + o * LANES < OUTPUTS) {
                y[(n0 + n) * OUTPUTS + o0 + o * LANES] = bias_at(o0 + o * LANES) + sums[0][o];
            }
        }
        for (var next = 1u; next < SAMPLES; next++) {
            sums[next - 1u] = sums[next];
        }
    }
}

// The vec4s of d_y that an invocation loads for ROWS outputs.
const FOURS: u32 = (ROWS + 4u * LANES - 1u) / (4u * LANES);

// d_y[n,o] to [n,o+3]
fn load_d_y(n: u32, o: u32) -> vec4f {
    let at = n * OUTPUTS + o;
    if (TEXELS > 0u && OUTPUTS % 4u == 0u) {
        return d_y_four(at / 4u);
    }
    let last = BATCH * OUTPUTS - 1u;
    return vec4f(d_y_at(at), d_y_at(min(at + 1u, last)), d_y_at(min(at + 2u, last)), d_y_at(min(at + 3u, last)));
}

// d_weight[o,k] = sum_n d_y[n,o] * x[n,k]; d_bias[o] = sum_n d_y[n,o], written by the invocation that has k = 0
fn params(k0: u32, o0: u32, mine: u32) {
    var sums: array<array<Value, COLUMNS>, ROWS>;
    var bias_sums: array<vec4f, FOURS>; // of those of the ROWS that this invocation loads
    var first = 0u;
    loop {
        var values: array<array<Value, COLUMNS>, TURN>;
        var loaded: array<array<vec4f, FOURS>, TURN>;
        for (var s = 0u; s < TURN; s++) {
            let n = min(first + s, BATCH - 1u);
            for (var c = 0u; c < COLUMNS; c++) {
                values[s][c] = x_at(n * INPUTS + min(k0 + c * GROUP, INPUTS - 1u));
            }
            for (var h = 0u; h < FOURS; h++) {
                let four = load_d_y(n, min(o0 + 4u * (h * LANES + mine), OUTPUTS - 1u));
                loaded[s][h] = select(vec4f(), four, first + s < BATCH);
                bias_sums[h] += loaded[s][h];
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            for (var s = 0u; s < TURN; s++) {
                let d = share(loaded[s][r / (4u * LANES)][r % 4u], r / 4u % LANES, LANES);
                for (var c = 0u; c < COLUMNS; c++) {
                    sums[r][c] += d * values[s][c];
                }
            }
        }
        first += TURN;
        if (first >= BATCH) { break; }
    }
    for (var r = 0u; r < ROWS; r++) {
        for (var c = 0u; c < COLUMNS; c++) {
            let k = k0 + c * GROUP;
            if (o0 + r < OUTPUTS && k < INPUTS) {
                d_weight[(o0 + r) * INPUTS + k] = sums[0][c];
            }
        }
        for (var next = 1u; next < ROWS; next++) {
            sums[next - 1u] = sums[next];
        }
    }
    if (k0 < LANES) {
        for (var h = 0u; h < FOURS; h++) {
            for (var j = 0u; j < 4u; j++) {
                let o = o0 + 4u * (h * LANES + mine) + j;
                if (4u * (h * LANES + mine) + j < ROWS && o < OUTPUTS) {
                    d_bias[o] = bias_sums[h][j];
                }
            }
        }
    }
}

// d_x[n,k] = sum_o d_y[n,o] * weight[o,k]
fn input(k0: u32, n0: u32, mine: u32) {
    var sums: array<array<Value, COLUMNS>, ROWS>;
    var first = 0u;
    loop {
        var w: array<array<Value, COLUMNS>, TURN>;
        for (var s = 0u; s < TURN; s++) {
            for (var c = 0u; c < COLUMNS; c++) {
                w[s][c] = weight_at(min(first + s, OUTPUTS - 1u) * INPUTS + min(k0 + c * GROUP, INPUTS - 1u));
            }
        }
        var loaded: array<array<f32, TURN>, ROWS / LANES>;
        for (var h = 0u; h < ROWS / LANES; h++) {
            let four = load_d_y(min(n0 + h * LANES + mine, BATCH - 1u), first);
            for (var s = 0u; s < TURN; s++) {
                loaded[h][s] = select(0.0, four[s], first + s < OUTPUTS);
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            for (var s = 0u; s < TURN; s++) {
                let d = share(loaded[r / LANES][s], r % LANES, LANES);
                for (var c = 0u; c < COLUMNS; c++) {
                    sums[r][c] += d * w[s][c];
                }
            }
        }
        first += TURN;
        if (first >= OUTPUTS) { break; }
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
    params(group.x * GROUP * COLUMNS + local, group.y * ROWS, local % LANES);
}

// Both gradients at once, so that the one fills the device where the other does not.
// Workgroups: blocks of K; blocks of O for the parameters, then blocks of N for the input.
@compute @workgroup_size(GROUP)
fn backward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
    let k0 = group.x * GROUP * COLUMNS + local;
    let blocks = (OUTPUTS + ROWS - 1u) / ROWS;
    if (group.y < blocks) {
        params(k0, group.y * ROWS, local % LANES);
    } else {
        input(k0, (group.y - blocks) * ROWS, local % LANES);
    }
}
