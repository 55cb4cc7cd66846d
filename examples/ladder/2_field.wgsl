// Second rung: what is used more than once is loaded once.
//
// The four outputs of a window overlap: together they need a 4x4 field of the input, 16 numbers, not 36, and all four
// use the same nine taps. So the loop over channels goes outside: for each channel the invocation loads the field into
// an array of its own, and each tap when it is needed. 25 loads for 36 multiply-adds. Arrays that are indexed by loop
// variables: a compiler keeps them in registers only if it unrolls all of these loops, and not all do. Otherwise they
// lie in memory, and nothing was gained.

override BATCH: u32 = 32u;         // N
override CHANNELS: u32 = 32u;      // C
override HEIGHT: u32 = 13u;        // H
override WIDTH: u32 = 13u;         // W
override OUT_CHANNELS: u32 = 64u;  // O

@group(0) @binding(0) var<storage, read> x: array<f32>;        // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<f32>;   // (O, C, 3, 3)
@group(0) @binding(2) var<storage, read> bias: array<f32>;     // (O)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;  // (N, O, PH, PW)

fn pooled_height() -> u32 { return (HEIGHT - 2u) / 2u; }
fn pooled_width() -> u32 { return (WIDTH - 2u) / 2u; }

@compute @workgroup_size(64)
fn forward(@builtin(global_invocation_id) id: vec3u) {
    let windows = pooled_height() * pooled_width();
    if (id.x >= BATCH * OUT_CHANNELS * windows) {
        return;
    }
    let n = id.x / (OUT_CHANNELS * windows);
    let o = id.x / windows % OUT_CHANNELS;
    let py = id.x / pooled_width() % pooled_height();
    let px = id.x % pooled_width();
    var sums: array<f32, 4>;
    for (var c = 0u; c < CHANNELS; c++) {
        var field: array<f32, 16>;
        for (var i = 0u; i < 4u; i++) {
            for (var j = 0u; j < 4u; j++) {
                field[4u * i + j] = x[((n * CHANNELS + c) * HEIGHT + 2u * py + i) * WIDTH + 2u * px + j];
            }
        }
        for (var i = 0u; i < 3u; i++) {
            for (var j = 0u; j < 3u; j++) {
                let tap = weight[((o * CHANNELS + c) * 3u + i) * 3u + j];
                for (var q = 0u; q < 4u; q++) { // the window's outputs: (0, 0), (0, 1), (1, 0), (1, 1)
                    sums[q] += tap * field[4u * (q / 2u + i) + q % 2u + j];
                }
            }
        }
    }
    var most = 0.0; // ReLU: never less than 0
    for (var q = 0u; q < 4u; q++) {
        most = max(most, sums[q] + bias[o]);
    }
    y[id.x] = most;
}
