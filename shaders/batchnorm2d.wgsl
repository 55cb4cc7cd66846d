// Batch normalisation of images, channel by channel, with ReLU behind it where RELU is set.
//
// What a channel's kernels need of it is four numbers, kept as one vec4: mean, 1 / sqrt(variance + EPSILON), weight and
// bias. In training `statistics` takes the first two from the batch, in an evaluation `recall` takes them from the
// running statistics; `forward` is the same for both. A sum over a channel is the work of one workgroup: its
// invocations take elements in turn, then add up in the form of a tree, so that the order never changes.

override BATCH: u32 = 128u;   // N
override CHANNELS: u32 = 32u; // C
override PLANE: u32 = 676u;   // H * W
override EPSILON: f32 = 1e-5;
override MOMENTUM: f32 = 0.1;
override RELU: bool = false;

const GROUP: u32 = 256u; // invocations that take a channel

@group(0) @binding(0) var<storage, read> x: array<f32>;                   // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<f32>;              // (C)
@group(0) @binding(2) var<storage, read> bias: array<f32>;                // (C)
@group(0) @binding(3) var<storage, read_write> channels: array<vec4f>;    // (C)
@group(0) @binding(4) var<storage, read_write> running_mean: array<f32>;  // (C)
@group(0) @binding(5) var<storage, read_write> running_var: array<f32>;   // (C)
@group(0) @binding(6) var<storage, read_write> y: array<f32>;             // (N, C, H, W)
@group(0) @binding(7) var<storage, read> d_y: array<f32>;                 // (N, C, H, W)
@group(0) @binding(8) var<storage, read_write> d_x: array<f32>;           // (N, C, H, W)
@group(0) @binding(9) var<storage, read_write> d_weight: array<f32>;      // (C)
@group(0) @binding(10) var<storage, read_write> d_bias: array<f32>;       // (C)

var<workgroup> lanes: array<f32, GROUP>;

// The sum of what the invocations of a workgroup have, known to all of them.
fn sum_of_lanes(lane: u32, own: f32) -> f32 {
    lanes[lane] = own;
    for (var half = GROUP / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if (lane < half) {
            lanes[lane] += lanes[lane + half];
        }
    }
    workgroupBarrier();
    let sum = lanes[0];
    workgroupBarrier(); // before anybody begins the next one
    return sum;
}

// Where element `e` of channel `c` lies, counted over all samples.
fn at(c: u32, e: u32) -> u32 { return (e / PLANE * CHANNELS + c) * PLANE + e % PLANE; }

// mean = sum x / M and var = sum (x - mean)^2 / M over the M = N * H * W elements of a channel. The running statistics
// follow by MOMENTUM; theirs is the unbiased variance, over M - 1, as in PyTorch. A workgroup per channel.
@compute @workgroup_size(GROUP)
fn statistics(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let c = group.x;
    let count = BATCH * PLANE;
    var sum = 0.0;
    for (var e = lane; e < count; e += GROUP) {
        sum += x[at(c, e)];
    }
    let mean = sum_of_lanes(lane, sum) / f32(count);
    var squares = 0.0;
    for (var e = lane; e < count; e += GROUP) {
        let d = x[at(c, e)] - mean;
        squares += d * d;
    }
    squares = sum_of_lanes(lane, squares);
    if (lane == 0u) {
        channels[c] = vec4f(mean, 1.0 / sqrt(squares / f32(count) + EPSILON), weight[c], bias[c]);
        running_mean[c] = (1.0 - MOMENTUM) * running_mean[c] + MOMENTUM * mean;
        running_var[c] = (1.0 - MOMENTUM) * running_var[c] + MOMENTUM * (squares / f32(max(count - 1u, 1u)));
    }
}

// The channels as an evaluation has them. An invocation per channel.
@compute @workgroup_size(64)
fn recall(@builtin(global_invocation_id) id: vec3u) {
    let c = id.x;
    if (c < CHANNELS) {
        channels[c] = vec4f(running_mean[c], 1.0 / sqrt(running_var[c] + EPSILON), weight[c], bias[c]);
    }
}

// (x - mean) / sqrt(var + EPSILON) * weight + bias
fn normalised(x: f32, channel: vec4f) -> f32 { return (x - channel.x) * (channel.y * channel.z) + channel.w; }

// By the bits, since WGSL lets a compiler assume that comparisons meet no NaN.
fn is_nan(value: f32) -> bool { return (bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u; }

// y is x normalised, and cut to 0 below it where RELU is set. Invocations along x share a plane, and take planes in
// turn.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    if (id.x >= PLANE) {
        return;
    }
    for (var plane = id.y; plane < BATCH * CHANNELS; plane += groups.y) {
        let i = plane * PLANE + id.x;
        let value = normalised(x[i], channels[plane % CHANNELS]);
        y[i] = select(value, 0.0, RELU && value <= 0.0 && !is_nan(value));
    }
}

// The gradient of what was normalised: d_y, without what ReLU cut.
fn living_d_y(i: u32, channel: vec4f) -> f32 {
    return select(d_y[i], 0.0, RELU && normalised(x[i], channel) <= 0.0);
}

// d_bias = sum d_y, d_weight = sum d_y * (x - mean) / sqrt(var + EPSILON). A workgroup per channel.
@compute @workgroup_size(GROUP)
fn backward_params(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let c = group.x;
    let channel = channels[c];
    var sum = 0.0;
    var weighted = 0.0;
    for (var e = lane; e < BATCH * PLANE; e += GROUP) {
        let i = at(c, e);
        let d = living_d_y(i, channel);
        sum += d;
        weighted += d * (x[i] - channel.x);
    }
    sum = sum_of_lanes(lane, sum);
    weighted = sum_of_lanes(lane, weighted);
    if (lane == 0u) {
        d_bias[c] = sum;
        d_weight[c] = weighted * channel.y;
    }
}

// d_x = weight / sqrt(var + EPSILON) * (d_y - (d_bias + d_weight * (x - mean) / sqrt(var + EPSILON)) / M): mean and
// variance depend on x, too.
@compute @workgroup_size(64)
fn backward_input(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
    if (id.x >= PLANE) {
        return;
    }
    for (var plane = id.y; plane < BATCH * CHANNELS; plane += groups.y) {
        let i = plane * PLANE + id.x;
        let c = plane % CHANNELS;
        let channel = channels[c];
        let along = d_bias[c] + d_weight[c] * ((x[i] - channel.x) * channel.y);
        d_x[i] = channel.y * channel.z * (living_d_y(i, channel) - along / f32(BATCH * PLANE));
    }
}
