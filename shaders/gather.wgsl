// Gathers a batch: sample i of the batch is sample order[batch.first + i] of the data set, its bytes divided by 255.
//
// The data set lies on the device as bytes, four to a word, and the epoch's order beside it. So the host sends nothing
// for a batch but where it begins. An invocation turns one word of one sample into four numbers; neighbours take
// neighbouring words.

override BATCH: u32 = 32u;    // N
override LENGTH: u32 = 784u;  // bytes of a sample, padded to whole words in memory

struct Batch {
    first: u32,
    count: u32,
    index: u32,
    step: u32,
    learning_rate: f32,
    correction1: f32,
    correction2: f32,
}

@group(0) @binding(0) var<storage, read> images: array<u32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> targets: array<u32>;
@group(1) @binding(0) var<uniform> batch: Batch;

// v / 255, correctly rounded, as `unpack4x8unorm` and a division need not be. 1/255 is 0x10101 / 2^24 and 2^24 times
// less, and so on: of the quotient v * 0x10101 / 2^24, which an f32 holds, this leaves out between a half and one unit
// in the last place.
fn fraction(v: u32) -> f32 {
    let short = f32(v * 0x10101u) * 0x1p-24;
    return select(0.0, bitcast<f32>(bitcast<u32>(short) + 1u), v > 0u);
}

// x[i] = images[order[first + i]] / 255. Places beyond batch.count repeat the batch's last sample: no metric counts
// them.
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    let words = (LENGTH + 3u) / 4u;
    if (id.x >= words || id.y >= BATCH) {
        return;
    }
    let sample = order[batch.first + min(id.y, batch.count - 1u)];
    let pixels = images[sample * words + id.x];
    for (var i = 0u; i < 4u; i++) {
        let at = id.x * 4u + i;
        if (at < LENGTH) {
            x[id.y * LENGTH + at] = fraction((pixels >> (8u * i)) & 255u);
        }
    }
    if (id.x == 0u) {
        targets[id.y] = labels[sample];
    }
}
