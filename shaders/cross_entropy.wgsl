// Softmax cross-entropy over CLASSES logits per sample, the mean over the batch, and what an epoch's report needs of
// it.
//
// `forward` and `backward` are the textbook pair, an invocation per sample. Training runs `train`, both of them and the
// batch's metrics in one dispatch; an evaluation runs `evaluate`, the metrics alone. These two are one workgroup, since
// a batch has few logits: its invocations take samples in turn, then the first adds up what all have found, in order.
// So a sum does not depend on which invocation is faster, and the same batch gives the same bits.

override BATCH: u32 = 32u;     // N
override CLASSES: u32 = 10u;
override SMOOTHING: f32 = 0.0; // share of each target that is spread over all classes in training

const LANES: u32 = 64u;

struct Batch {
    first: u32,
    count: u32,
    index: u32,
    step: u32,
    learning_rate: f32,
    correction1: f32,
    correction2: f32,
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

// What one pass over a sample's logits finds.
struct Seen {
    most: f32,
    best: u32,       // the class of the largest logit, the first of equals, as torch.argmax
    of_target: f32,  // the logit of the target
    sum: f32,        // of all logits, where targets are smoothed
    non_finite: u32,
}

// Finite or not is asked of the exponent bits: WGSL may assume that there are no NaNs.
fn see(n: u32, target_class: u32) -> Seen {
    var seen: Seen;
    for (var c = 0u; c < CLASSES; c++) {
        let logit = logits[n * CLASSES + c];
        if (c == 0u || logit > seen.most) {
            seen.most = logit;
            seen.best = c;
        }
        if (SMOOTHING != 0.0) {
            seen.sum += logit;
        }
        seen.of_target = select(seen.of_target, logit, c == target_class);
        seen.non_finite += select(0u, 1u, (bitcast<u32>(logit) & 0x7f800000u) == 0x7f800000u);
    }
    return seen;
}

// log(sum_c exp(logits[n,c])), the maximum subtracted first so that nothing overflows.
fn log_sum_exp(n: u32, most: f32) -> f32 {
    var sum = 0.0;
    for (var c = 0u; c < CLASSES; c++) {
        sum += exp(logits[n * CLASSES + c] - most);
    }
    return most + log(sum);
}

// log_sum_exp(logits) - logits[target]; of that 1 - SMOOTHING, and SMOOTHING of the mean over all classes in the
// target's place.
fn smoothed_loss(seen: Seen, normaliser: f32) -> f32 {
    let loss = normaliser - seen.of_target;
    if (SMOOTHING == 0.0) {
        return loss;
    }
    return (1.0 - SMOOTHING) * loss + SMOOTHING * (normaliser - seen.sum / f32(CLASSES));
}

// d_logits[n,c] = (softmax(logits[n])[c] - (1 - SMOOTHING) * (c == target) - SMOOTHING / CLASSES) / count
fn write_gradient(n: u32, target_class: u32, normaliser: f32, count: u32) {
    for (var c = 0u; c < CLASSES; c++) {
        let p = exp(logits[n * CLASSES + c] - normaliser);
        let spread = SMOOTHING / f32(CLASSES);
        d_logits[n * CLASSES + c] = (p - select(spread, 1.0 - SMOOTHING + spread, c == target_class)) / f32(count);
    }
}

// The loss of each sample.
@compute @workgroup_size(LANES)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < BATCH) {
        let seen = see(id.x, targets[id.x]);
        losses[id.x] = smoothed_loss(seen, log_sum_exp(id.x, seen.most));
    }
}

// The gradient of the mean loss.
@compute @workgroup_size(LANES)
fn backward(@builtin(global_invocation_id) id: vec3u) {
    if (id.x < BATCH) {
        let target_class = targets[id.x];
        write_gradient(id.x, target_class, log_sum_exp(id.x, see(id.x, target_class).most), BATCH);
    }
}

var<workgroup> lane_metrics: array<Metrics, LANES>;

fn sample_metrics(seen: Seen, target_class: u32, loss: f32) -> Metrics {
    return Metrics(loss, select(0u, 1u, seen.best == target_class), 1u, seen.non_finite);
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
        let target_class = targets[n];
        let seen = see(n, target_class);
        let normaliser = log_sum_exp(n, seen.most);
        own = add(own, sample_metrics(seen, target_class, smoothed_loss(seen, normaliser)));
        write_gradient(n, target_class, normaliser, batch.count);
    }
    store_metrics(lane, own);
}

@compute @workgroup_size(LANES)
fn evaluate(@builtin(local_invocation_index) lane: u32) {
    var own = Metrics();
    for (var n = lane; n < batch.count; n += LANES) {
        let target_class = targets[n];
        let seen = see(n, target_class);
        own = add(own, sample_metrics(seen, target_class, log_sum_exp(n, seen.most) - seen.of_target));
    }
    store_metrics(lane, own);
}
