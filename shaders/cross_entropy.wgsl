// Softmax cross-entropy over CLASSES logits per sample, the mean over the batch, and what an epoch's report needs of it.
//
// `forward` and `backward` are the textbook pair. Training runs `train`, both fused with the batch's metrics, and an
// evaluation `evaluate`, the metrics alone: one workgroup, since a batch has few logits.

override BATCH: u32 = 32u;     // N
override CLASSES: u32 = 10u;

const LANES: u32 = 64u;

struct Batch {
    first: u32,
    count: u32,
    index: u32,
    step: u32,
}

struct Metrics {
    loss_sum: f32,    // sum of the samples' losses
    correct: u32,     // samples whose largest logit is their target's
    count: u32,       // samples
    non_finite: u32,  // logits that are infinite or not a number
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;             // (N, CLASSES)
@group(0) @binding(1) var<storage, read> targets: array<u32>;            // (N)
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;       // (N)
@group(0) @binding(3) var<storage, read_write> d_logits: array<f32>;     // (N, CLASSES)
@group(0) @binding(4) var<storage, read_write> metrics: array<Metrics>;  // one per batch of the epoch
@group(1) @binding(0) var<uniform> batch: Batch;

// log(sum_c exp(logits[n,c])), the maximum subtracted first so that nothing overflows.
fn log_sum_exp(n: u32) -> f32 {
    var most = logits[n * CLASSES];
    for (var c = 1u; c < CLASSES; c++) {
        most = max(most, logits[n * CLASSES + c]);
    }
    var sum = 0.0;
    for (var c = 0u; c < CLASSES; c++) {
        sum += exp(logits[n * CLASSES + c] - most);
    }
    return most + log(sum);
}

// d_logits[n,c] = (softmax(logits[n])[c] - (c == target)) / count
fn write_gradient(n: u32, normaliser: f32, count: u32) {
    for (var c = 0u; c < CLASSES; c++) {
        let p = exp(logits[n * CLASSES + c] - normaliser);
        d_logits[n * CLASSES + c] = (p - select(0.0, 1.0, c == targets[n])) / f32(count);
    }
}

// losses[n] = log_sum_exp(logits[n]) - logits[n, targets[n]]
@compute @workgroup_size(LANES)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < BATCH) {
        losses[id.x] = log_sum_exp(id.x) - logits[id.x * CLASSES + targets[id.x]];
    }
}

// The gradient of the mean loss.
@compute @workgroup_size(LANES)
fn backward(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < BATCH) {
        write_gradient(id.x, log_sum_exp(id.x), BATCH);
    }
}

var<workgroup> lane_metrics: array<Metrics, LANES>;

// The loss of sample n, whether it was judged right (the first of equal logits counts, as torch.argmax), and how many of its
// logits are not finite. Asked of the exponent bits: WGSL may assume that there are no NaNs.
fn sample_metrics(n: u32, normaliser: f32) -> Metrics {
    var best = 0u;
    var non_finite = 0u;
    for (var c = 0u; c < CLASSES; c++) {
        let logit = logits[n * CLASSES + c];
        if (logit > logits[n * CLASSES + best]) {
            best = c;
        }
        non_finite += select(0u, 1u, (bitcast<u32>(logit) & 0x7f800000u) == 0x7f800000u);
    }
    let target_class = targets[n];
    return Metrics(normaliser - logits[n * CLASSES + target_class], select(0u, 1u, best == target_class), 1u, non_finite);
}

fn add(a: Metrics, b: Metrics) -> Metrics {
    return Metrics(a.loss_sum + b.loss_sum, a.correct + b.correct, a.count + b.count, a.non_finite + b.non_finite);
}

// Adds up the lanes' metrics in order and stores them as those of the batch.
fn store_metrics(lane: u32, own: Metrics) {
    lane_metrics[lane] = own;
    workgroupBarrier();
    if (lane == 0u) {
        var sum = Metrics();
        for (var l = 0u; l < LANES; l++) {
            sum = add(sum, lane_metrics[l]);
        }
        metrics[batch.index] = sum;
    }
}

@compute @workgroup_size(LANES)
fn train(@builtin(local_invocation_index) lane: u32) {
    var own = Metrics();
    for (var n = lane; n < batch.count; n += LANES) {
        let normaliser = log_sum_exp(n);
        own = add(own, sample_metrics(n, normaliser));
        write_gradient(n, normaliser, batch.count);
    }
    store_metrics(lane, own);
}

@compute @workgroup_size(LANES)
fn evaluate(@builtin(local_invocation_index) lane: u32) {
    var own = Metrics();
    for (var n = lane; n < batch.count; n += LANES) {
        own = add(own, sample_metrics(n, log_sum_exp(n)));
    }
    store_metrics(lane, own);
}
