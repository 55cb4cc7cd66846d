// As many multiply-adds as the device can do: independent chains in registers, no memory until the end.

const CHAINS: u32 = 12u; // in three vec4: enough that none waits for itself, few enough for a CPU's 16 registers
const LENGTH: u32 = 64u; // multiply-adds of a chain per round, a multiple of 8

@group(0) @binding(0) var<storage, read> rounds: array<u32>;     // (1)
@group(0) @binding(1) var<storage, read_write> sums: array<f32>; // (invocations)

// 2 * CHAINS * LENGTH * rounds FLOPs
@compute @workgroup_size(64)
fn multiply_add(@builtin(global_invocation_id) id: vec3u) {
    let b = f32(id.x) * 1e-6; // only known at run time, and no chain grows
    let a = 1.0 - b;
    var c0 = vec4f(0.1, 0.2, 0.3, 0.4);
    var c1 = c0 + b;
    var c2 = c1 + b;
    for (var round = 0u; round < rounds[0]; round++) {
        for (var i = 0u; i < LENGTH; i += 8u) { // unrolled: the loop itself costs a CPU a third
            c0 = c0 * a + b; c1 = c1 * a + b; c2 = c2 * a + b;
            c0 = c0 * a + b; c1 = c1 * a + b; c2 = c2 * a + b;
            c0 = c0 * a + b; c1 = c1 * a + b; c2 = c2 * a + b;
            c0 = c0 * a + b; c1 = c1 * a + b; c2 = c2 * a + b;
            c0 = c0 * a + b; c1 = c1 * a + b; c2 = c2 * a + b;
            c0 = c0 * a + b; c1 = c1 * a + b; c2 = c2 * a + b;
            c0 = c0 * a + b; c1 = c1 * a + b; c2 = c2 * a + b;
            c0 = c0 * a + b; c1 = c1 * a + b; c2 = c2 * a + b;
        }
    }
    let sum = c0 + c1 + c2;
    if (id.x < arrayLength(&sums)) {
        sums[id.x] = sum.x + sum.y + sum.z + sum.w;
    }
}
