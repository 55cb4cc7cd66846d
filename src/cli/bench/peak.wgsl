// As many multiply-adds as the device can do: independent chains in registers, no memory until the end.

const CHAINS: u32 = 8u;  // enough that no chain waits for itself, few enough for the registers
const LENGTH: u32 = 64u; // multiply-adds of a chain per round

@group(0) @binding(0) var<storage, read> rounds: array<u32>;     // (1)
@group(0) @binding(1) var<storage, read_write> sums: array<f32>; // (invocations)

// 2 * 4 * CHAINS * LENGTH * rounds FLOPs
@compute @workgroup_size(64)
fn multiply_add(@builtin(global_invocation_id) id: vec3u) {
    let a = vec4f(1.0 - f32(id.x) * 1e-6); // only known at run time, and no chain grows
    let b = vec4f(f32(id.x) * 1e-6);
    var c0 = b; var c1 = b + 0.1; var c2 = b + 0.2; var c3 = b + 0.3;
    var c4 = b + 0.4; var c5 = b + 0.5; var c6 = b + 0.6; var c7 = b + 0.7;
    for (var round = 0u; round < rounds[0]; round++) {
        for (var i = 0u; i < LENGTH; i++) {
            c0 = c0 * a + b; c1 = c1 * a + b; c2 = c2 * a + b; c3 = c3 * a + b;
            c4 = c4 * a + b; c5 = c5 * a + b; c6 = c6 * a + b; c7 = c7 * a + b;
        }
    }
    let sum = c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7;
    if (id.x < arrayLength(&sums)) {
        sums[id.x] = sum.x + sum.y + sum.z + sum.w;
    }
}
