// First rung: the definition of 3x3 convolution, bias, ReLU and 2x2 max pooling, written down as loops.
//
// One invocation computes one element of y. It needs four outputs of the convolution, those of its pooling window, and
// keeps the largest. Each product loads both of its factors from memory: two loads for each multiply-add. A GPU can do
// far more multiply-adds than loads, so it spends its time waiting for loads.

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
    var most = 0.0; // ReLU: never less than 0
    for (var q = 0u; q < 4u; q++) { // the window's outputs: (0, 0), (0, 1), (1, 0), (1, 1)
        var sum = bias[o];
        for (var c = 0u; c < CHANNELS; c++) {
            for (var i = 0u; i < 3u; i++) {
                for (var j = 0u; j < 3u; j++) {
                    let row = 2u * py + q / 2u + i;
                    let column = 2u * px + q % 2u + j;
                    sum += weight[((o * CHANNELS + c) * 3u + i) * 3u + j]
                        * x[((n * CHANNELS + c) * HEIGHT + row) * WIDTH + column];
                }
            }
        }
        most = max(most, sum);
    }
    y[id.x] = most;
}
