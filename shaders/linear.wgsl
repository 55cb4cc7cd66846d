// Fully connected layer, y = x W^T + b, and the dropout of its input that may come before it.
//
// Each kernel computes blocks of a matrix product, so that a number loaded serves several multiply-adds. The sums of a
// block have names, not indices: they must stay in registers, and compilers disagree about arrays in registers.
//
// In training dropout sets each input to 0 with a probability, and multiplies the others by SCALE. Which ones is
// decided by a hash of (seed, layer, step, index), the same function as `ops::dropout::cpu::keep`. So nothing is stored
// between the passes: each draws the mask again as it loads x, or as it stores the gradient of x.

override BATCH: u32 = 32u;       // N
override INPUTS: u32 = 1600u;    // K
override OUTPUTS: u32 = 128u;    // O
override THRESHOLD: u32 = 0u;    // of dropout: p * 2^32; 0 where there is none
override KEY: u32 = 0u;          // of dropout: from seed and layer
override SCALE: f32 = 1.0;       // of dropout: 1 / (1 - p)

const GROUP: u32 = 64u;  // invocations of a workgroup
const BLOCK: u32 = 4u;   // in forward a workgroup computes this many samples by this many outputs
const ROWS: u32 = 8u;    // in backward an invocation computes this many rows of a gradient,
const COLUMNS: u32 = 4u; // and this many columns, GROUP apart

struct Batch {
    first: u32,
    count: u32,
    index: u32,
    step: u32,
    learning_rate: f32,
    correction1: f32,
    correction2: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;              // (N, K)
@group(0) @binding(1) var<storage, read> weight: array<f32>;         // (O, K)
@group(0) @binding(2) var<storage, read> bias: array<f32>;           // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;        // (N, O)
@group(0) @binding(4) var<storage, read> d_y: array<f32>;            // (N, O)
@group(0) @binding(5) var<storage, read_write> d_x: array<f32>;      // (N, K)
@group(0) @binding(6) var<storage, read_write> d_weight: array<f32>; // (O, K)
@group(0) @binding(7) var<storage, read_write> d_bias: array<f32>;   // (O)
@group(1) @binding(0) var<uniform> batch: Batch;

// lowbias32, a 32-bit integer hash with low bias.
fn hash(seed: u32) -> u32 {
    var h = (seed ^ (seed >> 16u)) * 0x7feb352du;
    h = (h ^ (h >> 15u)) * 0x846ca68bu;
    return h ^ (h >> 16u);
}

// Dropout of element `i` of (N, K).
fn drop(value: f32, i: u32) -> f32 {
    if (THRESHOLD == 0u) {
        return value;
    }
    return select(0.0, value * SCALE, hash(i ^ hash(batch.step + KEY)) >= THRESHOLD);
}

// The invocations' sums for a block: one row per element, of odd length, so that no two invocations meet in a memory
// bank.
const STRIDE: u32 = GROUP + 1u;
var<workgroup> parts: array<f32, BLOCK * BLOCK * STRIDE>;

fn x_at(i: u32) -> f32 { return drop(x[i], i); }

// y[n,o] = bias[o] + sum_k x[n,k] * weight[o,k].
// A workgroup shares a block of 4 samples and 4 outputs. Invocation l sums k = l, l + GROUP, ..., so that neighbours
// load neighbouring numbers; then the invocations' sums are added up in order.
// Workgroups: blocks of O; blocks of N.
@compute @workgroup_size(GROUP)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) local: u32) {
    let o = group.x * BLOCK;
    let n = group.y * BLOCK;
    let w = min(vec4u(o, o + 1u, o + 2u, o + 3u), vec4u(OUTPUTS - 1u)) * INPUTS;
    let v = min(vec4u(n, n + 1u, n + 2u, n + 3u), vec4u(BATCH - 1u)) * INPUTS;
    var s0 = vec4f(); // of sample n, four outputs
    var s1 = vec4f();
    var s2 = vec4f();
    var s3 = vec4f();
    for (var k = local; k < INPUTS; k += GROUP) {
        let weights = vec4f(weight[w.x + k], weight[w.y + k], weight[w.z + k], weight[w.w + k]);
        s0 += x_at(v.x + k) * weights;
        s1 += x_at(v.y + k) * weights;
        s2 += x_at(v.z + k) * weights;
        s3 += x_at(v.w + k) * weights;
    }
    store_parts(local, s0);
    store_parts(local + 4u * STRIDE, s1);
    store_parts(local + 8u * STRIDE, s2);
    store_parts(local + 12u * STRIDE, s3);
    workgroupBarrier();
    let sample = n + local / BLOCK;
    let output = o + local % BLOCK;
    if (local < BLOCK * BLOCK && sample < BATCH && output < OUTPUTS) {
        var sum = bias[output];
        for (var l = 0u; l < GROUP; l++) {
            sum += parts[local * STRIDE + l];
        }
        y[sample * OUTPUTS + output] = sum;
    }
}

fn store_parts(at: u32, s: vec4f) {
    parts[at] = s.x;
    parts[at + STRIDE] = s.y;
    parts[at + 2u * STRIDE] = s.z;
    parts[at + 3u * STRIDE] = s.w;
}

// ROWS rows of a gradient, of each of them the columns k, k + GROUP, ... So neighbours load and store neighbouring
// numbers.
struct Rows { r0: vec4f, r1: vec4f, r2: vec4f, r3: vec4f, r4: vec4f, r5: vec4f, r6: vec4f, r7: vec4f }

// The sums and one more term: eight numbers of d_y, one a row, times four columns of x or of the weight.
fn add_term(s: Rows, a: vec4f, b: vec4f, v: vec4f) -> Rows {
    return Rows(s.r0 + a.x * v, s.r1 + a.y * v, s.r2 + a.z * v, s.r3 + a.w * v,
        s.r4 + b.x * v, s.r5 + b.y * v, s.r6 + b.z * v, s.r7 + b.w * v);
}

fn columns(k: u32) -> vec4u { return vec4u(k, k + GROUP, k + 2u * GROUP, k + 3u * GROUP); }

// Four numbers of d_y.
fn d_y_at(i: vec4u) -> vec4f { return vec4f(d_y[i.x], d_y[i.y], d_y[i.z], d_y[i.w]); }

// d_weight[o,k] = sum_n d_y[n,o] * x[n,k], d_bias[o] = sum_n d_y[n,o]
fn params(k: u32, o: u32) {
    let column = min(columns(k), vec4u(INPUTS - 1u));
    let outputs_a = min(vec4u(o, o + 1u, o + 2u, o + 3u), vec4u(OUTPUTS - 1u));
    let outputs_b = min(vec4u(o + 4u, o + 5u, o + 6u, o + 7u), vec4u(OUTPUTS - 1u));
    var sums = Rows();
    var bias_a = vec4f();
    var bias_b = vec4f();
    for (var n = 0u; n < BATCH; n++) {
        let a = d_y_at(n * OUTPUTS + outputs_a);
        let b = d_y_at(n * OUTPUTS + outputs_b);
        let i = n * INPUTS + column;
        sums = add_term(sums, a, b, vec4f(x_at(i.x), x_at(i.y), x_at(i.z), x_at(i.w)));
        bias_a += a;
        bias_b += b;
    }
    store_params(o, k, sums.r0, bias_a.x);
    store_params(o + 1u, k, sums.r1, bias_a.y);
    store_params(o + 2u, k, sums.r2, bias_a.z);
    store_params(o + 3u, k, sums.r3, bias_a.w);
    store_params(o + 4u, k, sums.r4, bias_b.x);
    store_params(o + 5u, k, sums.r5, bias_b.y);
    store_params(o + 6u, k, sums.r6, bias_b.z);
    store_params(o + 7u, k, sums.r7, bias_b.w);
}

fn store_params(o: u32, k: u32, d_weights: vec4f, d_b: f32) {
    if (o < OUTPUTS) {
        let i = o * INPUTS + columns(k);
        if (k < INPUTS) { d_weight[i.x] = d_weights.x; }
        if (k + GROUP < INPUTS) { d_weight[i.y] = d_weights.y; }
        if (k + 2u * GROUP < INPUTS) { d_weight[i.z] = d_weights.z; }
        if (k + 3u * GROUP < INPUTS) { d_weight[i.w] = d_weights.w; }
        if (k == 0u) { d_bias[o] = d_b; }
    }
}

// d_x[n,k] = sum_o d_y[n,o] * weight[o,k]
fn input(k: u32, n: u32) {
    let column = min(columns(k), vec4u(INPUTS - 1u));
    let samples_a = min(vec4u(n, n + 1u, n + 2u, n + 3u), vec4u(BATCH - 1u)) * OUTPUTS;
    let samples_b = min(vec4u(n + 4u, n + 5u, n + 6u, n + 7u), vec4u(BATCH - 1u)) * OUTPUTS;
    var sums = Rows();
    for (var o = 0u; o < OUTPUTS; o++) {
        let i = o * INPUTS + column;
        let weights = vec4f(weight[i.x], weight[i.y], weight[i.z], weight[i.w]);
        sums = add_term(sums, d_y_at(samples_a + o), d_y_at(samples_b + o), weights);
    }
    store_input(n, k, sums.r0);
    store_input(n + 1u, k, sums.r1);
    store_input(n + 2u, k, sums.r2);
    store_input(n + 3u, k, sums.r3);
    store_input(n + 4u, k, sums.r4);
    store_input(n + 5u, k, sums.r5);
    store_input(n + 6u, k, sums.r6);
    store_input(n + 7u, k, sums.r7);
}

fn store_input(n: u32, k: u32, d: vec4f) {
    if (n < BATCH) {
        let i = n * INPUTS + columns(k);
        if (k < INPUTS) { d_x[i.x] = drop(d.x, i.x); }
        if (k + GROUP < INPUTS) { d_x[i.y] = drop(d.y, i.y); }
        if (k + 2u * GROUP < INPUTS) { d_x[i.z] = drop(d.z, i.z); }
        if (k + 3u * GROUP < INPUTS) { d_x[i.w] = drop(d.w, i.w); }
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
    let k = group.x * GROUP * COLUMNS + local;
    let blocks = (OUTPUTS + ROWS - 1u) / ROWS;
    if (group.y < blocks) {
        params(k, group.y * ROWS);
    } else {
        input(k, (group.y - blocks) * ROWS);
    }
}
