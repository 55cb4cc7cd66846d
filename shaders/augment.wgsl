// Gathers a batch as gather.wgsl does, each image moved a little: turned, scaled, sheared and shifted at random.
//
// How much is drawn by a hash of (seed, step, sample), so that every step sees other images, and the same ones again
// with the same seed. An invocation computes one pixel: it finds the place in the image that comes to lie there, and
// mixes the four pixels around it. Beyond the edge the image goes on with its outermost pixels.

override BATCH: u32 = 32u;    // N
override CHANNELS: u32 = 1u;  // C
override HEIGHT: u32 = 28u;   // H
override WIDTH: u32 = 28u;    // W
override KEY: u32 = 0u;       // from the seed
override ROTATION: f32 = 0.2; // the most, in radians
override SCALE: f32 = 0.1;    // the most that a size grows or shrinks by, as a share
override SHEAR: f32 = 0.15;   // the most, as the tangent of the angle
override SHIFT: f32 = 0.1;    // the most, as a share of a side

struct Batch {
    first: u32,
    count: u32,
    index: u32,
    step: u32,
    learning_rate: f32,
    correction1: f32,
    correction2: f32,
}

@group(0) @binding(0) var<storage, read> images: array<u32>;         // (samples, C, H, W) bytes, padded to whole words
@group(0) @binding(1) var<storage, read> labels: array<u32>;         // (samples)
@group(0) @binding(2) var<storage, read> order: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;        // (N, C, H, W)
@group(0) @binding(4) var<storage, read_write> targets: array<u32>;  // (N)
@group(1) @binding(0) var<uniform> batch: Batch;

// lowbias32, as in dropout.wgsl.
fn hash(seed: u32) -> u32 {
    var h = (seed ^ (seed >> 16u)) * 0x7feb352du;
    h = (h ^ (h >> 15u)) * 0x846ca68bu;
    return h ^ (h >> 16u);
}

// Number `which` of a sample in this step, in [-1, 1).
fn draw(sample: u32, which: u32) -> f32 {
    let h = hash((sample * 8u + which) ^ hash(batch.step + KEY));
    return f32(h >> 8u) * 0x1p-23 - 1.0;
}

// The Taylor series for angles up to a right one. WGSL's own sine may be off by 2^-11.
fn sine(a: f32) -> f32 {
    let s = a * a;
    return a * (1.0 - s / 6.0 * (1.0 - s / 20.0 * (1.0 - s / 42.0 * (1.0 - s / 72.0 * (1.0 - s / 110.0)))));
}

fn cosine(a: f32) -> f32 {
    let s = a * a;
    return 1.0 - s / 2.0 * (1.0 - s / 12.0 * (1.0 - s / 30.0 * (1.0 - s / 56.0 * (1.0 - s / 90.0 * (1.0 - s / 132.0)))));
}

// x[i,c,row,column] = images[order[first + i], c, place],
// place = rotation * shear / scale * (what (row, column) is from the middle) + shift + the middle
@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    if (id.x >= HEIGHT * WIDTH || id.y >= BATCH) {
        return;
    }
    let sample = order[batch.first + min(id.y, batch.count - 1u)];
    // Half the angle, so that it is at most a right one.
    let s = sine(0.5 * ROTATION * draw(sample, 0u));
    let c = cosine(0.5 * ROTATION * draw(sample, 0u));
    let turned = vec2f(c * c - s * s, 2.0 * s * c);
    let smaller = 1.0 / (1.0 + SCALE * draw(sample, 1u));
    let shear = SHEAR * draw(sample, 2u);
    let shift = SHIFT * vec2f(f32(WIDTH) * draw(sample, 3u), f32(HEIGHT) * draw(sample, 4u));

    let middle = 0.5 * vec2f(f32(WIDTH - 1u), f32(HEIGHT - 1u));
    let from_middle = vec2f(f32(id.x % WIDTH), f32(id.x / WIDTH)) - middle;
    let sheared = vec2f(from_middle.x + shear * from_middle.y, from_middle.y) * smaller;
    let rotated = vec2f(turned.x * sheared.x - turned.y * sheared.y, turned.y * sheared.x + turned.x * sheared.y);
    let place = clamp(rotated + middle + shift, vec2f(), vec2f(f32(WIDTH - 1u), f32(HEIGHT - 1u)));

    let corner = min(vec2u(place), vec2u(WIDTH - 1u, HEIGHT - 1u));
    let beside = min(corner + 1u, vec2u(WIDTH - 1u, HEIGHT - 1u));
    let share = place - vec2f(corner);
    let bytes = (CHANNELS * HEIGHT * WIDTH + 3u) / 4u * 4u;
    for (var channel = 0u; channel < CHANNELS; channel++) {
        let plane = sample * bytes + channel * HEIGHT * WIDTH;
        let upper = mix_pixels(plane + corner.y * WIDTH, corner.x, beside.x, share.x);
        let lower = mix_pixels(plane + beside.y * WIDTH, corner.x, beside.x, share.x);
        x[(id.y * CHANNELS + channel) * HEIGHT * WIDTH + id.x] = (upper + share.y * (lower - upper)) / 255.0;
    }
    if (id.x == 0u) {
        targets[id.y] = labels[sample];
    }
}

fn pixel(byte: u32) -> f32 { return f32((images[byte / 4u] >> (8u * (byte % 4u))) & 255u); }

// Between two pixels of a row.
fn mix_pixels(row: u32, left: u32, right: u32, share: f32) -> f32 {
    let value = pixel(row + left);
    return value + share * (pixel(row + right) - value);
}
